"""How many times a second f_comb runs in Chromium, with the script of ``probunet explore``: JSON.

Three 1x1 convolutions on random features, two classes. A browser is needed (chromium on the path) and playwright.

    python benchmarks/explore_updates.py > benchmarks/results/explore_updates.json
"""

from __future__ import annotations

import base64
import json
import shutil
from importlib import resources

from measure import machine
from playwright.sync_api import sync_playwright

SCRIPT = """async ([source, size, channels]) => {
    const { FComb } = await import(source);
    const random = (n) => Array.from({ length: n }, () => Math.random() - 0.5);
    const rows = (n, length) => Array.from({ length: n }, () => random(length));
    const layer = (outputs) => ({ weight: rows(outputs, channels), bias: random(outputs) });
    const combine = { from_latent: rows(channels, 6), layers: [layer(channels), layer(2)] };
    const comb = new FComb(combine, Float32Array.from({ length: size * size * channels }, () => Math.random() - 0.5));
    const times = [];
    for (let i = 0; i < 60; i++) {
        const start = performance.now();
        comb.labels(random(6));
        if (i >= 10) times.push(performance.now() - start);
    }
    return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}"""


def main() -> None:
    where = machine()
    text = resources.files("probunet.explore").joinpath("static/fcomb.js").read_bytes()
    source = "data:text/javascript;base64," + base64.b64encode(text).decode()
    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        for size in (64, 128, 256):
            for channels in (16, 32):
                milliseconds = page.evaluate(SCRIPT, [source, size, channels])
                found.append({"size": size, "channels": channels, "milliseconds": milliseconds})
        version = browser.version
        browser.close()
    for one in found:
        one["updates_per_second"] = 1000 / one["milliseconds"]
    print(json.dumps({"machine": where, "chromium": version, "decode": found}, indent=2))


if __name__ == "__main__":
    main()
