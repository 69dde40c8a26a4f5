"""Settings of training itself: what is read (`data`), how it is optimised (`optim`), how it runs.

The model's own settings live with the model (`pylib.nn`, `pylib.systems`); `config.py` composes
both. Every field names its unit and, where it has one, its fairseq name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal


def neutral(default: Any) -> Any:
    """A field that cannot change the trained weights; it may differ when a run is resumed."""
    return field(default=default, metadata={"neutral": True})


def added(default: Any) -> Any:
    """A field that older runs lack: at its default, which is what they did, it is not part of what
    a run is known by."""
    return field(default=default, metadata={"added": True})


@dataclass(frozen=True)
class DataConfig:
    """What is read and how batches are formed."""

    # Features that a model with frontend = "fbank" reads: name of the scp and json in the data
    # directory. Others than `feats` may be of any kind of model.fbank_dim numbers at 100 Hz:
    # logmel, z1, z2 ...
    features: str = added("feats")
    # Where the crop of a pre-training batch starts: `start` (MT4SSL) or a random multiple of the
    # hop with the labels cropped alike (data2vec, HuBERT: `random_crop`). CTC never crops.
    crop: Literal["start", "random_aligned"] = "start"
    # Shorter utterances are dropped and counted (`min_sample_size` / 16000).
    min_seconds: float = 2.0
    # Pre-training: longer utterances are cropped to this (`max_sample_size` / 16000). CTC: longer
    # utterances are dropped and counted. 0 = no limit.
    max_seconds: float = 20.0
    # Upper bound of rows x longest member of one micro-batch, in seconds (`max_tokens` / 16000).
    batch_seconds: float = 237.5
    # Whole-utterance zero mean and unit variance before cropping (`normalize`); for filter banks
    # each of the channels for itself.
    normalise: bool = True
    # Lengths closer than this count as equal when batches are formed, so that each epoch puts
    # other utterances together; a crop loses at most this much.
    tie_seconds: float = 0.1
    # Memory for decoded inputs, in GB; what does not fit is read again in every epoch.
    cache_gb: float = neutral(1.0)
    # Batches prepared ahead of the loop.
    prefetch: int = neutral(4)
    # Threads that read utterances not in the cache (`num_workers`).
    threads: int = neutral(2)

    def __post_init__(self) -> None:
        positive(self, "batch_seconds", "tie_seconds", "prefetch", "threads")
        not_negative(self, "min_seconds", "max_seconds", "cache_gb")
        if 0 < self.max_seconds < self.min_seconds:
            raise ValueError("max_seconds is below min_seconds: no utterance would be left")
        if self.max_seconds > self.batch_seconds:
            raise ValueError("max_seconds exceeds batch_seconds: the longest would fit no batch")


@dataclass(frozen=True)
class OptimConfig:
    """Adam with decoupled weight decay, and the learning-rate schedule."""

    lr: float = 5e-4  # peak learning rate (`lr`)
    betas: tuple[float, float] = (0.9, 0.98)  # `adam_betas`
    eps: float = 1e-6  # `adam_eps`
    weight_decay: float = 0.01  # decoupled, on all parameters (`weight_decay`)
    clip_norm: float = 0.0  # gradient norm is clipped to this; 0 = not clipped (`clip_norm`)
    # tri_stage: linear warm-up, hold, exponential decay; updates that the three shares leave over
    # run at the last rate. linear: linear warm-up, linear decay to 0 (`polynomial_decay` with
    # power 1).
    schedule: Literal["tri_stage", "linear"] = "tri_stage"
    warmup: float = 0.03  # share of the updates that warm up (`phase_ratio[0]`, `warmup_updates`)
    hold: float = 0.9  # share held at the peak, tri_stage only (`phase_ratio[1]`)
    decay: float = 0.07  # share that decays, tri_stage only (`phase_ratio[2]`)
    init_scale: float = 0.01  # first learning rate / peak, tri_stage only (`init_lr_scale`)
    final_scale: float = 0.01  # last learning rate / peak, tri_stage only (`final_lr_scale`)
    updates: int = 400_000  # optimizer updates (`max_update`)
    # Micro-batches of one update, over all processes: each takes its share, so the number of GPUs
    # changes speed, not training (`update_freq` x `distributed_world_size`).
    micro_batches: int = 1

    def __post_init__(self) -> None:
        positive(self, "lr", "eps", "updates", "micro_batches")
        not_negative(self, "weight_decay", "clip_norm", "warmup", "hold", "decay", "init_scale")
        positive(self, "final_scale")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must lie in [0, 1), got {list(self.betas)}")
        shares = self.warmup + self.hold + self.decay
        if self.schedule == "tri_stage" and shares > 1 + 1e-6:
            raise ValueError(f"warmup + hold + decay must be at most 1, is {shares:g}")
        if self.schedule == "linear" and self.warmup > 1:
            raise ValueError(f"warmup is a share of the updates (0..1), got {self.warmup:g}")


@dataclass(frozen=True)
class RunConfig:
    """How a run behaves: seed, precision, logging, checkpoints, validation."""

    seed: int = 1  # all randomness of the run derives from it (`seed`)
    # `fp16` (with loss scaling), `bf16`; auto = bf16 where the device computes it, else fp32: a
    # processor that imitates bf16 takes five times as long.
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    compile: bool = False  # torch.compile: pays off in long runs only
    # full: parameters, gradients, teacher and Adam's moments are shared out over the processes
    # (FSDP2), each layer fetched when its turn comes: for models that fill the memory of one GPU.
    # none: every process holds all. One process always does.
    sharding: Literal["none", "full"] = neutral("none")
    log_every: int = neutral(50)  # updates between two lines of metrics (`log_interval`)
    save_every: int = neutral(1000)  # updates between two checkpoints (`save_interval_updates`)
    keep: int = neutral(2)  # numbered checkpoints kept besides last and best; 0 = none, -1 = all
    validate_every: int = 1000  # updates between two validations; 0 = never
    validate_after: int = 0  # no validation before this update (`validate_after_updates`)
    # Measure of checkpoint_best: auto = wer for CTC and none for pre-training, whose losses are
    # not comparable over time; bound for FHVAE, accuracy of tokens for seq2seq, loss for
    # phone2unit (`best_checkpoint_metric`).
    best_metric: Literal["auto", "none", "wer", "cer", "loss", "bound", "accuracy"] = "auto"
    # Stop after this many validations without a better best_metric; 0 = off (`patience`).
    patience: int = 0
    tensorboard: bool = neutral(True)  # event files beside metrics.jsonl (`tensorboard_logdir`)

    def __post_init__(self) -> None:
        positive(self, "log_every", "save_every")
        not_negative(self, "seed", "validate_every", "validate_after", "patience")
        if self.keep < -1:
            raise ValueError(f"keep must be -1 (all), 0 or more, got {self.keep}")


def added_keys(config_class: type) -> dict[str, Any]:
    """Fields that older runs lack -> the default that stands for their absence."""
    return {item.name: item.default for item in fields(config_class) if item.metadata.get("added")}


def neutral_keys(config_class: type) -> set[str]:
    """Names of the fields of a settings class that may differ when a run is resumed."""
    return {item.name for item in fields(config_class) if item.metadata.get("neutral")}


def positive(config: Any, *names: str) -> None:
    """Raise ValueError for the first of the named fields that is not above 0."""
    for name in names:
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be above 0, got {getattr(config, name)}")


def not_negative(config: Any, *names: str) -> None:
    """Raise ValueError for the first of the named fields that is below 0."""
    for name in names:
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name} must be 0 or more, got {getattr(config, name)}")
