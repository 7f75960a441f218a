"""Sixteen hypotheses of an image without torch: python sample_onnx.py MODEL IMAGE.npy OUT.npy [SEED].

MODEL is what ``probunet export RUN --out MODEL --format onnx`` wrote; IMAGE.npy (H, W) has the raw values of the
training data. Needs numpy and onnxruntime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

model, image, out = map(Path, sys.argv[1:4])
facts = json.loads((model / "probunet.json").read_text())
encode, decode = (onnxruntime.InferenceSession(model / f"{name}.onnx") for name in ("encode", "decode"))
raw, intensity = np.load(image).astype(np.float32), facts["input"]["intensity"]
x = ((raw - intensity["offset"]) / intensity["scale"])[None, None].astype(np.float32)
features, mean, log_sigma = encode.run(None, {"image": x})
eps = np.random.default_rng(int(sys.argv[4]) if sys.argv[4:] else 0).standard_normal((16, mean.shape[1]))
latents = (mean + np.exp(log_sigma) * eps).astype(np.float32)
logits = [decode.run(None, {"features": features, "z": z[None]})[0][0] for z in latents]
np.save(out, np.stack([one.argmax(axis=0).astype(np.uint8) for one in logits]))
