"""How long does the similarity of all pairs of layers of two networks take, beside other packages and the hardware?

    python -m benchmarks.whole_models [--batch 256] [--batches 4] [--repeats 4] [--layers main|all]

The activations of a ResNet-18 for CIFAR are recorded once and replayed through identity modules, so that the forward
pass is not in the figures; with --forward it is. Recorded activations fill memory, so a longer stream shows the same
batches again, --repeats times in all. Every package computes the minibatch estimate of linear CKA on the same batches;
what repscope's diagnostics of every layer cost is shown apart. Takes one to five minutes on two cores; see
benchmarks/requirements.txt for the other packages.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from collections.abc import Callable

import torch
from torch import nn

import repscope
from benchmarks.networks import resnet18
from benchmarks.timing import in_turn, measured_apart, product_rate


class Replay(nn.Module):
    """Runs recorded activations through identity modules of the layers' names."""

    def __init__(self, recorded: list[dict[str, torch.Tensor]]) -> None:
        super().__init__()
        self.recorded = recorded
        self.names = [name.replace(".", "_") for name in recorded[0]]
        for name in self.names:
            self.add_module(name, nn.Identity())
        self.register_buffer("device_of", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name, activation in zip(self.names, self.recorded[int(x[0, 0]) % len(self.recorded)].values(), strict=True):
            activation = getattr(self, name)(activation[: len(x)])
        return activation


def record(seed: int, images: list[torch.Tensor], which: str) -> list[dict[str, torch.Tensor]]:
    model = resnet18(seed)
    layers = model.main_layers if which == "main" else None
    recorded = []
    with torch.no_grad():
        for batch in images:
            kept: dict[str, torch.Tensor] = {}
            modules = dict(model.named_modules())
            names = layers or [n for n, m in modules.items() if n and not list(m.children())]
            handles = [
                modules[n].register_forward_hook(lambda m, i, o, n=n, kept=kept: kept.__setitem__(n, o.clone()))
                for n in names
            ]
            model.eval()(batch)
            for handle in handles:
                handle.remove()
            recorded.append(kept)
    return recorded


def sides(a: nn.Module, b: nn.Module, names: list[str], batches: list[torch.Tensor]) -> dict[str, Callable[[], object]]:
    """One call per package, all on the same models, layers and batches."""

    def ours(**settings: bool) -> object:
        return repscope.compare(
            a, b, data=batches, layers=names, pairs="batch", reduce="flatten", progress=False, **settings
        ).values

    found: dict[str, Callable[[], object]] = {
        "repscope": ours,
        "without diagnostics": lambda: ours(diagnostics=False),
    }
    pairs = [(batch, torch.zeros(len(batch))) for batch in batches]
    loader = torch.utils.data.DataLoader(_Same(pairs), batch_size=None)
    with contextlib.suppress(ImportError):
        from cka import compute_cka

        found["pytorch-cka"] = lambda: compute_cka(a, b, loader, layers=names, progress=False)[0]
    with contextlib.suppress(ImportError):
        from cka_pytorch.cka import CKACalculator

        def cka_pytorch() -> object:
            calculator = CKACalculator(
                a, b, names, names, verbose=False, hook_recursive=False, device=torch.device("cpu")
            )
            return calculator.calculate_cka_matrix(loader, num_epochs=1)

        found["cka-pytorch"] = cka_pytorch
    with contextlib.suppress(ImportError):
        from torch_cka import CKA

        def torch_cka() -> object:
            calculator = CKA(a, b, "a", "b", names, names, device="cpu")
            with contextlib.redirect_stderr(io.StringIO()):
                calculator.compare(loader)
            return calculator.hsic_matrix

        found["torch_cka"] = torch_cka
    return {name: _then_clear_hooks(work, (a, b)) for name, work in found.items()}


def _then_clear_hooks(work: Callable[[], object], models: tuple[nn.Module, ...]) -> Callable[[], object]:
    """Some packages leave their hooks on the models, where they would run again with whatever is measured next."""

    def run() -> object:
        found = work()
        for model in models:
            for module in model.modules():
                module._forward_hooks.clear()
        return found

    return run


class _Same(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.batches[index]


def prepared(arguments: argparse.Namespace) -> tuple[dict[str, Callable[[], object]], int, list[int], list[int]]:
    """The work of every package; the number of layers of a model, the widths of all, and the batches' sizes."""
    b = arguments.batch
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(b, 3, 32, 32, generator=generator) for _ in range(arguments.batches)]
    if arguments.forward:
        models: tuple[nn.Module, ...] = (resnet18(0).eval(), resnet18(1).eval())
        names, batches = models[0].main_layers, images * arguments.repeats
        widths = [x[0].numel() for x in record(0, images[:1], "main")[0].values()]
    else:
        models = tuple(Replay(record(seed, images, arguments.layers)) for seed in (0, 1))
        names = models[0].names
        batches = [torch.full((b, 1), float(i)) for i in range(len(images) * arguments.repeats)]
        widths = [x[0].numel() for x in models[0].recorded[0].values()]
    work = {k: v for k, v in sides(*models, names, batches).items() if k not in arguments.skip}
    return work, len(names), widths * 2, [b] * len(batches)


def prepared_side(name: str, threads: int, arguments: argparse.Namespace) -> Callable[[], object]:
    """The work of one package, in a process of its own; run on one batch before, so that what is loaded is loaded."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    small = argparse.Namespace(**{**vars(arguments), "batches": 1, "batch": 8, "repeats": 1})
    prepared(small)[0][name]()
    return prepared(arguments)[0][name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=1, help="times that the batches are shown")
    parser.add_argument("--layers", choices=["main", "all"], default="main")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--forward", action="store_true", help="run the networks themselves instead of replaying them")
    parser.add_argument("--skip", nargs="*", default=[], help="packages to leave out")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    work, layers, widths, sizes = prepared(arguments)
    flops = sum(b * b * sum(widths) + b * b * len(widths) ** 2 / 2 for b in sizes)
    rate = product_rate(arguments.batch, 16384)
    kind = "with the forward passes" if arguments.forward else "replayed"
    print(f"{layers} × {layers} layers, {len(sizes)} batches of {arguments.batch}, {kind}; ", end="")
    print(f"{flops / 1e9:.0f} GFLOP, fastest product {rate / 1e9:.0f} GFLOP/s, {torch.get_num_threads()} threads")
    timings = in_turn(work, arguments.rounds)
    ours = timings["repscope"].median
    for name, timing in timings.items():
        apart = measured_apart(prepared_side, (name, torch.get_num_threads(), arguments), seconds=60, mebibytes=16384)
        print(f"{name:19} {timing}   {timing.median / ours:6.2f} × repscope   peak +{apart.mebibytes:.0f} MiB", end="")
        print(f" {apart.stopped}", flush=True)
    if not arguments.forward:
        for name in timings.keys() & {"repscope", "without diagnostics"}:
            print(f"{name}: {flops / rate / timings[name].median:.2f} of the product's rate")


if __name__ == "__main__":
    main()
