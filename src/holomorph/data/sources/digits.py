"""scikit-learn's digits: 1,797 grey images of 8x8 pixels."""

import numpy as np
import torch

from holomorph.data.sources.base import DataRequest
from holomorph.data.splits import Splits


def read_digits(asked: DataRequest) -> Splits:
    """Split 60 / 20 / 20 by class, always the same way."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x, y = (digits.images[:, None] / 16.0).astype(np.float32), digits.target.astype(np.int64)
    x_rest, x_test, y_rest, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    x_train, x_val, y_train, y_val = train_test_split(x_rest, y_rest, test_size=360, stratify=y_rest, random_state=0)
    training = (torch.from_numpy(x_train), torch.from_numpy(y_train), torch.from_numpy(x_val), torch.from_numpy(y_val))
    names = tuple(str(digit) for digit in range(10))
    return Splits(asked.text, *training, torch.from_numpy(x_test), torch.from_numpy(y_test), (0.0, 1.0), 10, names)
