#!/usr/bin/env bash
# Trains fmnist with two learning rates and three seeds as an array of six jobs, each on CPUs of its own.
#
#     sbatch examples/sweeps/slurm.sh        # then: spikegrad runs runs/sweep
#
# A job that was stopped at its time limit continues where it was when it is submitted again (--array=4 for one of them).
#SBATCH --job-name=spikegrad-sweep
#SBATCH --array=0-5
#SBATCH --cpus-per-task=4
#SBATCH --mem=4G
#SBATCH --time=00:30:00
#SBATCH --signal=INT@60
set -euo pipefail

rates=(0.002 0.005)
lr=${rates[SLURM_ARRAY_TASK_ID % ${#rates[@]}]}
seed=$((SLURM_ARRAY_TASK_ID / ${#rates[@]}))
out=${SWEEP:-runs/sweep}/lr-$lr/seed-$seed

export RAYON_NUM_THREADS=${SLURM_CPUS_PER_TASK:-}
if [[ -e $out/config.toml ]]; then
    exec spikegrad train "$out"
fi
# Samples are held out to choose among the settings; the test set is left for `spikegrad eval`.
exec spikegrad train fmnist --set "adam.lr=$lr" --seed "$seed" --validation fraction:0.2 --device cpu --out "$out" "$@"
