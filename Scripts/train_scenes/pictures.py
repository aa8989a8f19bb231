"""PNG files and grids of pictures."""
import numpy as np
import torch
from PIL import Image, ImageDraw

LABEL_HEIGHT, LINE_HEIGHT, LINE_LENGTH = 42, 13, 40


def read(path):
    """(3, height, width) uint8."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)


def lines_of(text):
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE_LENGTH:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def write_grid(pictures, path, columns=6, texts=None):
    """Pictures (n, 3, height, width) uint8 side by side, each over its text."""
    height, width = pictures.shape[2:]
    label = LABEL_HEIGHT if texts else 0
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * width, rows * (height + label)), "white")
    draw = ImageDraw.Draw(grid)
    for i, picture in enumerate(pictures):
        left, top = i % columns * width, i // columns * (height + label)
        grid.paste(Image.fromarray(picture.permute(1, 2, 0).cpu().numpy()), (left, top))
        for k, line in enumerate(lines_of(texts[i]) if texts else []):
            draw.text((left + 3, top + height + 1 + LINE_HEIGHT * k), line, fill="black")
    grid.save(path)
