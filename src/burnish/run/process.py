"""What code that a user wrote must not do to the process: end it, or leave it in another state."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_ENDS = (
    *((os, name) for name in ("_exit", "abort", "execv", "execve", "kill", "killpg")),
    (signal, "raise_signal"),
)
_REAL: dict[str, Callable[..., Any]] = {name: getattr(module, name) for module, name in _ENDS}
_STREAMS = ("stdin", "stdout", "stderr")
_STOPS = (signal.SIGINT, signal.SIGTERM)

_inside = 0
"""The id of the process whose own user code is running; a process that it forks may end itself as it likes."""
_pressed = False
_spare: dict[int, tuple[Any, int]] = {}
"""What each standard file descriptor is, and a copy of it."""


@contextmanager
def alive_and_unchanged() -> Iterator[None]:
    """Let the block neither end this process nor change what later code depends on.

    In it `os._exit`, `os.abort`, `os.exec…`, and signals to this process raise SystemExit, which an `except Exception`
    does not catch. After it the working folder, the folders of modules, the standard streams and their file
    descriptors, the reactions to Ctrl-C and SIGTERM and PyTorch's switches are as before; a standard stream that was
    closed is opened again. What was added to the folders of modules stays. A forked
    process that comes to the end of the block ends there: it is not the run.
    """
    global _inside
    outer, _inside, own = _inside, os.getpid(), os.getpid()
    replaced = [(module, name, getattr(module, name)) for module, name in _ENDS]
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()  # else what is printed so far is lost where the block closes the stream's buffer
    before = [(read, write, read()) for read, write in _states()]
    _keep_descriptors()
    _watch()
    for module, name in _ENDS:
        setattr(module, name, _REFUSING[name])
    try:
        yield
    finally:
        if os.getpid() != own:
            os.write(2, b"burnish: a process that was forked did not end itself: it ends here\n")
            _REAL["_exit"](1)
        _inside = outer
        for module, name, function in replaced:
            setattr(module, name, function)
        for read, write, value in before:
            if read() != value:
                write(value)


def interrupted() -> bool:
    """Whether Ctrl-C was pressed since user code was begun last: else it has raised KeyboardInterrupt by itself."""
    return _pressed


def _watch() -> None:
    """Note a Ctrl-C, and react to it as before."""
    global _pressed
    _pressed = False
    before = signal.getsignal(signal.SIGINT)

    def note(signum: int, frame: Any) -> None:
        global _pressed
        _pressed = True
        before(signum, frame)  # type: ignore[operator,misc]

    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, note)


def _refusing(module: Any, name: str) -> Callable[..., Any]:
    """The function that takes the place of one that may end the process."""
    real = _REAL[name]

    def refuse(*arguments: Any, **options: Any) -> Any:
        if os.getpid() != _inside or (name in ("kill", "killpg") and not _ends_itself(name, *arguments)):
            return real(*arguments, **options)
        raise SystemExit(f"{module.__name__}.{name} would end the whole run")

    return refuse


def _ends_itself(name: str, target: int, number: int) -> bool:
    """Whether a signal goes to this process, alone or with others."""
    group = target in (0, os.getpgrp()) if name == "killpg" else target in (0, -1, os.getpid(), -os.getpgrp())
    return group and number != 0


_REFUSING = {name: _refusing(module, name) for module, name in _ENDS}


def _states() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """Pairs of functions that read and set a part of the process's state."""
    return _OWN + (_of_torch() if "torch" in sys.modules else [])


def _folder() -> str | None:
    with suppress(OSError):  # the working folder was removed
        return os.getcwd()
    return None


def _enter(folder: str | None) -> None:
    if folder is not None:
        with suppress(OSError):
            os.chdir(folder)


def _modules_from() -> list[str]:
    return list(sys.path)


def _add_again(folders: list[str]) -> None:
    """Let modules be found again where they were; what was added stays, for what is imported later."""
    sys.path.extend(one for one in folders if one not in sys.path)


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in _STOPS]


def _handle(handlers: list[Any]) -> None:
    for number, handler in zip(_STOPS, handlers, strict=True):
        if handler is not None:  # set by other than Python code
            signal.signal(number, handler)


def _descriptors() -> list[Any]:
    """What the standard file descriptors are, None for a closed one."""
    return [_identity(number) for number in range(3)]


def _keep_descriptors() -> None:
    """Keep a copy of each standard file descriptor."""
    for number, identity in enumerate(_descriptors()):
        known = _spare.get(number)
        if identity is not None and (known is None or known[0] != identity):
            if known is not None:
                os.close(known[1])
            _spare[number] = identity, os.dup(number)


def _identity(number: int) -> Any:
    with suppress(OSError):
        return (found := os.fstat(number)).st_mode, found.st_dev, found.st_ino
    return None


def _describe_again(before: list[Any]) -> None:
    """Let the standard file descriptors be what they were."""
    for number, identity in enumerate(before):
        if identity is not None and _identity(number) != identity:
            os.dup2(_spare[number][1], number)


def _streams() -> list[Any]:
    streams = [getattr(sys, name, None) for name in _STREAMS]
    return [(stream, _is_open(stream), _coding(stream)) for stream in streams]


def _is_open(stream: Any) -> bool:
    try:
        return not stream.closed
    except (AttributeError, ValueError):  # no stream at all; one without its buffer
        return stream is None or not isinstance(stream, io.IOBase)


def _coding(stream: Any) -> Any:
    if isinstance(stream, io.TextIOWrapper) and _is_open(stream):
        return stream.encoding, stream.errors
    return None


def _stream(before: list[Any]) -> None:
    """Put the streams back, one that was closed as another of the same file descriptor."""
    for number, (name, (stream, was_open, coding)) in enumerate(zip(_STREAMS, before, strict=True)):
        if was_open and not _is_open(stream):
            encoding, errors = coding or ("utf-8", "backslashreplace")
            stream = open(number, "w" if number else "r", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
        elif coding is not None and coding != _coding(stream):
            stream.reconfigure(encoding=coding[0], errors=coding[1])
        setattr(sys, name, stream)


_OWN: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = [
    (_folder, _enter),
    (_modules_from, _add_again),
    (_descriptors, _describe_again),
    (_streams, _stream),
    (_handlers, _handle),
]
_torch: list[tuple[Callable[[], Any], Callable[[Any], Any]]] = []


def _of_torch() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """PyTorch's switches for a whole process that change what is computed, or round it in another way."""
    if not _torch:
        import torch

        kernels = torch.backends.cuda
        _torch.extend(
            [
                (torch.is_grad_enabled, torch.set_grad_enabled),
                (torch.get_num_threads, torch.set_num_threads),
                (torch.get_default_dtype, torch.set_default_dtype),
                (torch.get_default_device, torch.set_default_device),
                (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
                (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
                (lambda: torch.is_autocast_enabled("cpu"), lambda on: torch.set_autocast_enabled("cpu", on)),
                (lambda: torch.is_autocast_enabled("cuda"), lambda on: torch.set_autocast_enabled("cuda", on)),
                (kernels.flash_sdp_enabled, kernels.enable_flash_sdp),
                (kernels.math_sdp_enabled, kernels.enable_math_sdp),
                (kernels.mem_efficient_sdp_enabled, kernels.enable_mem_efficient_sdp),
            ]
        )
    return _torch
