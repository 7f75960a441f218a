// Groups of hypotheses that say nearly the same: average linkage of 1 - IoU, as probunet.metrics.clusters has it.

// (n, n) mean over the classes that either of two has; of two classes the foreground alone; two empty ones are equal.
function distances(labels, n, classes) {
  const size = labels.length / n, first = classes === 2 ? 1 : 0, apart = Array.from({ length: n }, () => new Float64Array(n));
  const both = new Int32Array(classes), either = new Int32Array(classes);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      both.fill(0);
      either.fill(0);
      for (let p = i * size, q = j * size; p < (i + 1) * size; p++, q++) {
        const a = labels[p], b = labels[q];
        either[a]++;
        if (a === b) both[a]++;
        else either[b]++;
      }
      let sum = 0, counted = 0;
      for (let k = first; k < classes; k++) {
        if (either[k]) { sum += 1 - both[k] / either[k]; counted++; }
      }
      apart[i][j] = apart[j][i] = counted ? sum / counted : 0;
    }
  }
  return apart;
}

// Labels of n maps one after the other; groups are kept apart from this average distance on.
export function groups(labels, n, classes, distance) {
  const apart = distances(labels, n, classes), between = apart.map((row) => row.slice());
  let clusters = apart.map((_, i) => [i]);
  for (;;) {
    let least = Infinity, pair = null;
    for (let a = 0; a < n; a++) {
      for (let b = 0; clusters[a] && b < a; b++) {
        if (clusters[b] && between[a][b] < least) [least, pair] = [between[a][b], [b, a]];
      }
    }
    if (!pair || least > distance) break;
    const [a, b] = pair, [m, k] = [clusters[a].length, clusters[b].length];
    for (let c = 0; c < n; c++) {
      if (clusters[c] && c !== a && c !== b) between[a][c] = between[c][a] = (m * between[a][c] + k * between[b][c]) / (m + k);
    }
    clusters[a] = [...clusters[a], ...clusters[b]].sort((x, y) => x - y);
    clusters[b] = null;
  }
  clusters = clusters.filter(Boolean).map((members) => {
    const far = members.map((i) => members.reduce((sum, j) => sum + apart[i][j], 0));
    return { members, representative: members[far.indexOf(Math.min(...far))], frequency: members.length / n };
  });
  return clusters.sort((a, b) => b.frequency - a.frequency || a.members[0] - b.members[0]);
}
