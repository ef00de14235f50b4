"""What a chip needs of a net, set in a config before the net is trained."""

from __future__ import annotations

import os

from ..emulator.placement import check
from ..emulator.program.profile import Profile
from .build import build_model
from .config import Config

#: What a change to step-by-step timing takes away.
_OF_STEPS = {"input_steps": Config.model_fields["input_steps"].default}


def recipe(config: Config, profile: str | os.PathLike[str] | Profile, *, input_shape: tuple[int, ...]) -> Config:
    """Change the settings that a chip refuses, one after the other, until `emulator.check` accepts the untrained net.

    The remedies of its findings name the settings and their values: biases, leaks, currents, pools, timing, steps, encoder.

    Parameters
    ----------
    config : Config
        The settings of the run.
    profile : str, path or Profile
        As in `emulator.check`.
    input_shape : tuple of int
        Channels, height and width of an image, or the number of features.

    Returns
    -------
    Config
        `config` if the chip takes its net; `differences` tells what changed.

    Raises
    ------
    ValueError : in one line, where no setting helps.

    Examples
    --------
    >>> config = train.Config(data="mnist", spec="784-256-10")
    >>> train.recipe(config, "odin-like", input_shape=(1, 28, 28)).differences(config)
    ['bias: False, not None']
    """
    if config.model != "ttfs":
        raise ValueError(f"model must be 'ttfs', got {config.model!r}; only spiking nets run on chips")
    asked, changed = config, set[str]()
    while not (checked := check(build_model(config, input_shape=input_shape), profile)).fits:
        named = [finding.setting for finding in checked.findings]
        fresh = [new for new in named if new and not changed & set(new) and set(new) <= set(Config.model_fields)]
        if not fresh:
            raise ValueError(_with_changes(checked.text().strip(), config, asked))
        try:
            config = config.replace(**(_OF_STEPS if fresh[0].get("timing") == "step" else {}), **fresh[0])
        except ValueError as error:
            needs = " and ".join(f"{name} = {value!r}" for name, value in fresh[0].items())
            refusal = f"{checked.profile} needs {needs}, which other settings contradict: {error}"
            raise ValueError(_with_changes(refusal, config, asked)) from error
        changed |= set(fresh[0])
    return config


def _with_changes(text: str, config: Config, asked: Config) -> str:
    """A refusal with the settings that had been changed before it."""
    done = config.differences(asked)
    return f"{text} (changed before: {'; '.join(done)})" if done else text
