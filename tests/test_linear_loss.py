"""The loss in blocks keeps to the memory that it states, on a CPU and on a GPU, in float32 and in bfloat16."""

import pytest
import torch

from live_bytes import LiveBytes, peak_bytes
from vectalk.model.linear_loss import BLOCK_BYTES, GPU_BLOCK_BYTES, Blocks, linear_cross_entropy, loss_and_gradients

SMALL = 1 << 12  # numbers of no size, such as the loss itself


def test_what_is_counted_is_what_lives() -> None:
    with LiveBytes() as counted:
        kept = torch.zeros(1000, device="meta")
        for _ in range(3):
            torch.ones(500, device="meta").add_(1)[:7].exp()
        assert counted.live == 4000
        del kept
    assert (counted.live, counted.most) == (0, 4000 + 2000 + 28)
    assert peak_bytes(lambda: torch.zeros(1000).exp()) == 8000


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_on_a_gpu_a_block_keeps_to_the_limit(kind: torch.dtype, bias: bool, trained: bool) -> None:
    """Shapes alone are counted, of a large LLM's head: what is no CPU is worked through as a GPU is."""
    count, width, words = 4096, 2048, 151_936
    hidden = torch.empty(count, width, dtype=kind, device="meta")
    weight = torch.empty(words, width, dtype=kind, device="meta")
    shift = torch.empty(words, dtype=kind, device="meta") if bias else None
    targets, counts = torch.empty(count, dtype=torch.long, device="meta"), torch.empty(count, device="meta")
    with LiveBytes() as counted:
        made = loss_and_gradients(
            hidden, weight, shift, targets, counts, Blocks.of(hidden, words), [True, trained, trained and bias]
        )
        gradients = sum(tensor.nbytes for tensor in made[1:] if tensor is not None)
    assert counted.live == gradients + made[0].nbytes
    taken = counted.most - gradients
    assert GPU_BLOCK_BYTES / 2 < taken <= GPU_BLOCK_BYTES + SMALL, taken / GPU_BLOCK_BYTES


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_on_a_cpu_a_block_keeps_to_the_limit(kind: torch.dtype, trained: bool) -> None:
    count, width, words = 2100 if kind == torch.bfloat16 else 1100, 8, 40_000
    hidden = torch.randn(count, width).to(kind).requires_grad_()
    weight = torch.randn(words, width).to(kind).requires_grad_(trained)
    targets = torch.zeros(count, dtype=torch.long)
    assert count * words * kind.itemsize > BLOCK_BYTES
    losses: list[torch.Tensor] = []
    most = peak_bytes(lambda: losses.append(linear_cross_entropy(hidden, weight, None, targets)))
    gradients = hidden.nbytes + (weight.numel() * 4 if trained else 0)
    assert most - gradients <= BLOCK_BYTES + SMALL
    if trained:
        assert most > BLOCK_BYTES / 2


@pytest.mark.parametrize("words", [1, 4096, 10**7])
@pytest.mark.parametrize("width", [8, 16_384])
def test_any_size_can_be_worked_through(words: int, width: int) -> None:
    for device in ("cpu", "meta"):
        blocks = Blocks.of(torch.empty(10, width, device=device, dtype=torch.bfloat16), words)
        assert min(blocks.rows, blocks.piece, blocks.words) >= 1


@pytest.mark.parametrize("piece", [1, 3, 100])
@pytest.mark.parametrize("part", [1, 7, 100])
def test_in_half_precision_blocks_change_nothing_but_rounding(piece: int, part: int) -> None:
    made = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(n, 8, generator=made).bfloat16() for n in (20, 30))
    shift, counts = torch.randn(30, generator=made), torch.rand(20, generator=made)
    targets = torch.randint(0, 30, (20,), generator=made)
    inputs = [tensor.float().clone().requires_grad_() for tensor in (hidden, weight, shift)]
    logits = torch.nn.functional.linear(*inputs)
    exact = (torch.nn.functional.cross_entropy(logits, targets, reduction="none") * counts).sum()
    expected = [exact.detach(), *torch.autograd.grad(exact, inputs)]
    found = loss_and_gradients(hidden, weight, shift, targets, counts, Blocks(7, piece, part), [True] * 3)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        torch.testing.assert_close(one.float(), other, atol=0.05, rtol=0.02)
