"""The ridge regression of the read-back: against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from vectalk.readback.ridge import fit_ridge


def data(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 10)) + 3
    y = x[:, :3] @ rng.standard_normal((3, 4)) + noise * rng.standard_normal((200, 4)) - 7
    return x, y, np.repeat(np.arange(50), 4)


@pytest.mark.parametrize("strength", [1e-3, 1.0, 100.0])
def test_is_ridge(strength: float) -> None:
    x, y, groups = data(1.0)
    found, wanted = fit_ridge(x, y, groups, strengths=[strength]), Ridge(strength).fit(x, y)
    np.testing.assert_allclose(found.weight, wanted.coef_.T, atol=1e-5)
    np.testing.assert_allclose(found.bias, wanted.intercept_, atol=1e-4)


def test_more_noise_takes_more_strength() -> None:
    weak, strong = (fit_ridge(*data(noise), seed=1).strength for noise in (0.01, 30.0))
    assert weak < 0.1
    assert strong > 100


def test_groups_are_left_out_together() -> None:
    """What tells a group by heart is worth nothing for another group."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 5)
    x, y = rng.standard_normal((40, 30))[groups], rng.standard_normal((40, 3))[groups]
    assert fit_ridge(x, y, groups).strength > 100
    assert fit_ridge(x, y, np.arange(200)).strength < 1.0


def test_what_was_fitted_without_a_fold_has_not_seen_it() -> None:
    x, y, groups = data(1.0)
    found = fit_ridge(x, y, groups, strengths=[0.5], crossed=True)
    assert all(len(set(found.fold[groups == group])) == 1 for group in set(groups))
    for fold, (weight, bias) in enumerate(found.without):
        wanted = Ridge(0.5).fit(x[found.fold != fold], y[found.fold != fold])
        np.testing.assert_allclose(weight, wanted.coef_.T, atol=1e-5)
        np.testing.assert_allclose(bias, wanted.intercept_, atol=1e-4)
    assert fit_ridge(x, y, groups).without == []
