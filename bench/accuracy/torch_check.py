#!/usr/bin/env python3
"""Checks a trained model against PyTorch: same tensor names, same scores.

Usage: torch_check.py SALUS MODEL_DIR IMAGE...      needs torch, safetensors, numpy and Pillow

Images must already have the model's size, so that no resampling can differ. Exits 1 where a
probability differs by more than 1e-4.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

DARK = [
    (8, 3, True), (16, 3, True), (32, 3, False), (16, 1, False), (32, 3, True), (64, 3, False),
    (32, 1, False), (64, 3, True), (128, 3, False), (64, 1, False), (128, 3, True), (256, 3, False),
    (128, 1, False), (256, 3, False), (128, 1, False), (256, 3, False),
]


def norm(config, channels):
    if config["normalisation"] == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(max(1, min(32, channels // 8)), channels)


def conv(source, target, kernel, stride=1):
    return nn.Conv2d(source, target, kernel, stride, (kernel - 1) // 2, bias=False)


class Small(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv1, self.bn1 = conv(config["channels"], 32, 5), norm(config, 32)
        self.conv2, self.bn2 = conv(32, 64, 5), norm(config, 64)
        side, self.pools = config["size_px"] // 4, 0
        while side > 8:
            side, self.pools = side // 2, self.pools + 1
        self.fc1 = nn.Linear(64 * side * side, 512)
        self.fc2 = nn.Linear(512, len(config["classes"]))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        for _ in range(self.pools):
            x = F.max_pool2d(x, 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Dark(nn.Module):
    def __init__(self, config):
        super().__init__()
        side, source, self.pooled = config["size_px"], config["channels"], []
        for i, (target, kernel, pool) in enumerate(DARK, 1):
            setattr(self, f"conv{i}", conv(source, target, kernel))
            setattr(self, f"bn{i}", norm(config, target))
            source = target
            self.pooled.append(pool and side // 2 >= 7)
            side = side // 2 if self.pooled[-1] else side
        self.conv17, self.bn17 = conv(256, 32, 3), norm(config, 32)
        self.fc = nn.Linear(32 * side * side, len(config["classes"]))

    def forward(self, x):
        for i in range(1, 18):
            x = F.leaky_relu(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x)), 0.1)
            if i <= 16 and self.pooled[i - 1]:
                x = F.max_pool2d(x, 2)
        return self.fc(x.flatten(1))


class Basic(nn.Module):
    def __init__(self, config, source, target, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(source, target, 3, stride), norm(config, target)
        self.conv2, self.bn2 = conv(target, target, 3), norm(config, target)
        self.downsample = None
        if stride != 1 or source != target:
            self.downsample = nn.Sequential(conv(source, target, 1, stride), norm(config, target))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class ResNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config["size_px"]
        kernel, stride, self.pool = (3, 1, False) if size <= 32 else (3, 2, False) if size <= 64 else (7, 2, True)
        self.conv1, self.bn1 = conv(config["channels"], 64, kernel, stride), norm(config, 64)
        source = 64
        for i, target in enumerate((64, 128, 256, 512), 1):
            blocks = [Basic(config, source, target, 1 if i == 1 else 2), Basic(config, target, target, 1)]
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            source = target
        self.fc = nn.Linear(512, len(config["classes"]))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 2) if self.pool else x
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


def main():
    salus, folder, *images = sys.argv[1:]
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    network = config["network"]
    model = {"small": Small, "darkcovidnet": Dark, "resnet18": ResNet}[network["architecture"]](network)
    missing = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    wrong = [n for n in missing.missing_keys if not n.endswith("num_batches_tracked")] + missing.unexpected_keys
    if wrong:
        sys.exit(f"tensor names differ: {wrong}")
    model.eval()
    lines = subprocess.run([salus, "predict", "--json", "--model", folder, *images], check=True, capture_output=True)
    worst = 0.0
    for path, line in zip(images, lines.stdout.splitlines(), strict=True):
        ours = [p["probability"] for p in json.loads(line)["probabilities"]]
        pixels = np.asarray(Image.open(path).convert("L" if network["channels"] == 1 else "RGB"), dtype=np.float32)
        pixels = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1) / 255
        pixels = (pixels - network["input_mean"] / 1e6) / (network["input_deviation"] / 1e6)
        with torch.no_grad():
            scores = model(torch.from_numpy(pixels)[None]) / (config["calibration"]["temperature"] or 1.0)
        theirs = scores.softmax(1)[0].tolist()
        worst = max(worst, *(abs(a - b) for a, b in zip(ours, theirs, strict=True)))
    print(f"{len(images)} images, largest difference of a probability {worst:.2e}")
    sys.exit(worst > 1e-4)


if __name__ == "__main__":
    main()
