#!/usr/bin/env bash
# What a GPU says of this project, in nine minutes, without a network and without installing it.
#
#     OUT=results bash docs/gpu_check.sh
#
# Leaves log.txt, conformance.json, benchmarks.json and more in $OUT, and prints each step with its
# time. PYTHON names the interpreter (default: python3; torch 2.11 and Python 3.12 will do). No step
# stops the next one: what failed is in the summary, and the exit code is their number.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=$(mkdir -p "${OUT:-gpu-check}" && cd "${OUT:-gpu-check}" && pwd)
PYTHON=${PYTHON:-python3}
LIMIT=${LIMIT:-530} # seconds for all of it
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
exec > >(tee "$OUT/log.txt") 2>&1
SECONDS=0
failed=0

# step SECONDS NAME COMMAND …: run it for that long at most, and no longer than is left of all.
step() {
    local most=$1 name=$2 begin=$SECONDS left=$((LIMIT - SECONDS)) code=0
    shift 2
    printf '\n=== %s\n' "$name"
    if [ "$left" -lt 5 ]; then
        echo "=== $name: left out, no time"
        return
    fi
    timeout -k 5 "$((most < left ? most : left))" "$@" || code=$?
    [ "$code" = 0 ] || failed=$((failed + 1))
    echo "=== $name: exit code $code, $((SECONDS - begin)) s, $SECONDS s since the start"
}
pytest() { "$PYTHON" -m pytest -p no:cacheprovider -q "$@"; }
export -f pytest
export PYTHON

step 60 "doctor" "$PYTHON" -m blitz doctor
# Decides what a captured step may differ by: see tests/training/test_feeds.py, rel=1e-3.
step 60 "captured against resident" "$PYTHON" docs/compare_feeds.py --device cuda --drift
step 40 "the first product of a thread" bash -c \
    'pytest spec/test_2_autograd.py -k outside_gradient; code=$?
     pytest spec/test_3_neural_networks.py -k random_gradient && exit $code'
step 150 "the specification" bash -c \
    "pytest spec --require-accelerator --conformance '$OUT/conformance.json'"
step 60 "the feeds' own tests" bash -c 'pytest tests/training -k "Cuda or cuda or Captured"'
step 60 "the tutorial's row from a cold process" bash -c \
    "pytest spec/bench_throughput.py --benchmark-only -k 'training_step and width_6-batch_4' --benchmark-json '$OUT/cold.json'"
step 150 "feeds, addition, TF32, precision, parts, the largest row" bash -c \
    "pytest spec/bench_throughput.py --benchmark-only --benchmark-json '$OUT/benchmarks.json' \
     -k 'feed or addition or tf32 or precision or parts or width_384-batch_1024'"
step 60 "one epoch of training" "$PYTHON" -m blitz train --epochs 1 --out "$OUT/run"
step 40 "one NCCL process of the distributed step" "$PYTHON" -W error -c '
import torch, torch.distributed as dist
from blitz.classifier import Net
from blitz.learning.step import TrainingStep
dist.init_process_group("cpu:gloo,cuda:nccl", store=dist.HashStore(), rank=0, world_size=1)
net = Net().to("cuda:0")
step = TrainingStep(net, forward=torch.nn.parallel.DistributedDataParallel(net, device_ids=[0]))
losses = [step(torch.ones(4, 3, 32, 32), torch.arange(4)).item() for _ in range(3)]
print(losses)
dist.destroy_process_group()
assert losses[2] < losses[0]
'
step 60 "tests of autograd, gate, preflight, run" bash -c \
    'pytest tests/test_autograd.py tests/harness/test_gate.py tests/preflight tests/harness/test_run.py'
step 60 "the specification on four workers" bash -c 'pytest spec -n 4 --require-accelerator'
step 20 "a lost context" "$PYTHON" -c '
import torch
x = torch.zeros(4, device="cuda")
try:
    print(x[torch.tensor([9], device="cuda")], torch.cuda.synchronize())
except RuntimeError as error:
    print("raised as it should:", str(error).splitlines()[0])
else:
    raise SystemExit("an index out of range went unnoticed")
'
printf '\n%s steps failed, %s s; in %s: %s\n' "$failed" "$SECONDS" "$OUT" "$(ls -m "$OUT")"
exit "$failed"
