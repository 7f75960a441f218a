"""What a trained model is on disk: run directory, exported folder, Hub, ONNX; imports models and all below."""
