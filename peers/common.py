"""What scripts/compare and scripts/hardware share: finding the programs, their command lines, and numbers as text."""
import os
import platform
import shutil
import subprocess
import sys
import venv

PEERS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(PEERS)
# Spike density of random input, as a fraction; None: images.
DENSITY = {"fmnist": None, "nmnist": 0.012, "shd": 0.016}
# The module of each implementation of torch_bench.py, beside torch and numpy.
MODULES = {"dense": "torch", "compiled": "torch", "reference": "torch", "snntorch": "snntorch", "spikingjelly": "spikingjelly"}
# Implementations of recurrent networks alone, and of those without recurrent weights.
RECURRENT_ONLY, PLAIN_ONLY = ["compiled"], ["spikingjelly"]


def stop(words):
    sys.exit(f"scripts/{os.path.basename(sys.argv[0])}: {words}")


def tell(words):
    print(words, file=sys.stderr, flush=True)


def has_peers(python, peers):
    code = "import " + ", ".join(sorted({"torch", "numpy"} | {MODULES[p] for p in peers}))
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False


def find_python(given, peers, install=True):
    """A python that has the peers. Without one, makes a virtual environment in target/peers if `install`, else returns None."""
    if given:
        if not has_peers(given, peers):
            stop(f"{given}: cannot import torch and the libraries asked for; install peers/requirements.txt")
        return given
    folder = os.path.join(ROOT, "target", "peers")
    python = os.path.join(folder, "bin", "python")
    for found in (sys.executable, python):
        if has_peers(found, peers):
            return found
    if not install:
        return None
    if not os.path.exists(python):
        tell(f"making a virtual environment in {folder}")
        venv.create(folder, with_pip=True)
    tell("installing peers/requirements.txt there (PyTorch is large)")
    requirements = os.path.join(PEERS, "requirements.txt")
    if subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements]).returncode or not has_peers(python, peers):
        stop("pip could not install peers/requirements.txt; give a python that has them with --python")
    return python


def find_program(given):
    """The spikegrad program: the given one, or built."""
    if given:
        return given
    tell("building spikegrad")
    if not shutil.which("cargo"):
        stop("no cargo on the PATH; name a built program with --program")
    if subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=ROOT).returncode:
        stop("cargo build failed")
    target = os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")
    return os.path.join(target, "release", "spikegrad")


def data_words(preset, data):
    """`--data` belongs to Fashion-MNIST: the other presets are measured with random spikes."""
    return ["--data", data] if data and preset == "fmnist" else []


def network_words(recurrent, depth):
    """Options that `spikegrad bench` and torch_bench.py share."""
    return [*(["--recurrent"] if recurrent else []), *(["--depth", str(depth)] if depth else [])]


def bench_command(program, preset, hidden, batch, device, methods, repeat, data=None, recurrent=False, depth=None):
    """`spikegrad bench` with JSON on standard output."""
    words = [program, "bench", preset, "--hidden", str(hidden), "--batch", str(batch), "--device", device]
    words += network_words(recurrent, depth)
    return words + ["--methods", methods, "--repeat", str(repeat), "--json", *data_words(preset, data)]


def peer_command(python, preset, hidden, batch, peer, repeat, max_seconds, data=None, recurrent=False, depth=None):
    """torch_bench.py for one implementation: a JSON line each for check and result."""
    words = [python, os.path.join(PEERS, "torch_bench.py"), preset, "--hidden", str(hidden), "--batch", str(batch)]
    words += ["--impl", peer, "--repeat", str(repeat), "--max-seconds", str(max_seconds)]
    words += ["--density", str(DENSITY[preset])] if DENSITY[preset] else []
    words += network_words(recurrent, depth)
    return words + data_words(preset, data)


def number(x):
    """Three digits."""
    if x is None:
        return "n/a"
    decimals = 0 if x >= 99.95 else 1 if x >= 9.995 else 2 if x >= 0.9995 else 3
    return f"{x:,.{decimals}f}"


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            names = [line.split(":", 1)[1].strip() for line in f if line.startswith("model name")]
        return f"{names[0]}, {os.cpu_count()} processors"
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors"
