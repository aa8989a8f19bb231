#!/bin/bash
# Makes the checkpoints from nothing on the GPUs of one host (1, 2, 4, ...).
#
#   run_all.sh OUT [STAGE ...]        stages: first ahead rest token_models diffusion sweep export; all of them without STAGE
#
#   first          the VQGAN on all GPUs but the last; on the last one the judge; captions on the processors
#   ahead          on the last GPU: renders shards into memory and waits with them for the VQGAN
#   rest           on the other GPUs: renders and encodes the remaining shards
#   token_models   the masked and the autoregressive model, each on half of the GPUs; they compile, then wait for the shards
#   diffusion      on one GPU, beside any of the above: its autoencoder, latents, the diffusion model; what is there already stays
#   sweep          chooses the sampling settings, makes the table with PyTorch's samplers
#   export         writes Checkpoints/; both for the MODELS named
#
# With one GPU the stages follow each other. With more, `first`, `ahead` and `token_models` may be started beside each
# other in this order: each waits for the files that it needs. Seconds and sizes come from the environment.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
OUT=$1; shift
mkdir -p "$OUT"; OUT=$(cd "$OUT" && pwd); cd "$HERE"

GPUS=${GPUS:-$(nvidia-smi -L | wc -l)}
VQGAN_SECONDS=${VQGAN_SECONDS:-430}
VQGAN_SCENES=${VQGAN_SCENES:-32000}          # a rank
JUDGE_SECONDS=${JUDGE_SECONDS:-100}
TOKEN_SECONDS=${TOKEN_SECONDS:-700}          # of each token model, or an end in $OUT/until
SHARDS=${SHARDS:-17}
SHARD_SCENES=${SHARD_SCENES:-25000}
AHEAD=${AHEAD:-8}
DIFFUSION_GPU=${DIFFUSION_GPU:-$((GPUS - 1))}
VAE_SECONDS=${VAE_SECONDS:-220}
VAE_SCENES=${VAE_SCENES:-30000}
DIFFUSION_SECONDS=${DIFFUSION_SECONDS:-650}  # or an end in $OUT/until
LATENT_SHARDS=${LATENT_SHARDS:-6}            # 29 GB of the GPU's memory until the autoencoder is trained
MODELS=${MODELS:-masked ar diffusion}
PYTHON=${PYTHON:-python3}
EXTRA=${EXTRA:-}                             # "--device cpu --tiny" tries the order of things without a GPU
SHARD_OPTIONS="--out $OUT --shards $SHARDS"
export PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
LAST=$((GPUS - 1))
DEVICE=$(grep -o -- '--device [a-z]*' <<< "$EXTRA" || true)

list() { seq -s, "$1" "$2"; }
# ranks PORT FIRST LAST SCRIPT ...: one process for each of these GPUs
ranks() {
  local port=$1 first=$2 last=$3; shift 3
  CUDA_VISIBLE_DEVICES=$(list "$first" "$last") $PYTHON -m torch.distributed.run --master_port "$port" --nproc_per_node $((last - first + 1)) "$@"
}

first() {
  local vqgan_last=$((GPUS > 1 ? GPUS - 2 : 0))
  nice $PYTHON make_captions.py $SHARD_OPTIONS --shard-scenes "$SHARD_SCENES" > "$OUT/captions.log" 2>&1 &
  if [ "$GPUS" -gt 1 ]; then judge & fi
  ranks 29501 0 "$vqgan_last" train_vqgan.py --out "$OUT" --seconds "$VQGAN_SECONDS" --scenes "$VQGAN_SCENES" $EXTRA > "$OUT/vqgan.log" 2>&1
  if [ "$GPUS" -eq 1 ]; then judge; fi
  wait
}
judge() { CUDA_VISIBLE_DEVICES=$LAST $PYTHON train_judge.py --out "$OUT" --seconds "$JUDGE_SECONDS" ${JUDGE_EXTRA:-} $DEVICE > "$OUT/judge.log" 2>&1; }

tokens() {                                   # GPU, shards ahead
  CUDA_VISIBLE_DEVICES=$1 $PYTHON make_tokens.py $SHARD_OPTIONS --shard-scenes "$SHARD_SCENES" --vqgan "$OUT/vqvae" --ahead "$2" $DEVICE > "$OUT/tokens_gpu$1.log" 2>&1
}
ahead() { tokens "$LAST" "$AHEAD"; }
rest() {
  local gpu
  for ((gpu = 0; gpu < LAST; gpu++)); do tokens "$gpu" 0 & done
  wait
}

masked() { ranks 29502 "$1" "$2" train_masked.py $SHARD_OPTIONS --name masked "${END[@]}" $EXTRA ${TRAIN_EXTRA:-} ${MASKED_EXTRA:-} > "$OUT/masked.log" 2>&1; }
autoregressive() { ranks 29503 "$1" "$2" train_parti.py $SHARD_OPTIONS --name ar "${END[@]}" $EXTRA ${TRAIN_EXTRA:-} ${AR_EXTRA:-} > "$OUT/ar.log" 2>&1; }
token_models() {
  END=(--seconds "$TOKEN_SECONDS")
  if [ -e "$OUT/until" ]; then END=(--until "$OUT/until"); fi
  if [ "$GPUS" -eq 1 ]; then masked 0 0; autoregressive 0 0; return; fi
  local half=$((GPUS / 2))
  masked 0 $((half - 1)) &
  autoregressive "$half" "$LAST" &
  wait
}

# The three wait for each other's files; the slow starts (renders, compilation) go on beside the first.
diffusion() {
  local options="--out $OUT --shards $LATENT_SHARDS" end=(--seconds "$DIFFUSION_SECONDS") jobs=()
  if [ -e "$OUT/until" ]; then end=(--until "$OUT/until"); fi
  rm -f "$OUT/diffusion.done"
  nice $PYTHON make_captions.py $options --shard-scenes "$SHARD_SCENES" > "$OUT/diffusion_captions.log" 2>&1 & jobs+=($!)
  if [ ! -e "$OUT/vae" ]; then
    diffusion_gpu train_vae.py --out "$OUT" --seconds "$VAE_SECONDS" --scenes "$VAE_SCENES" ${VAE_EXTRA:-} $EXTRA > "$OUT/vae.log" 2>&1 & jobs+=($!)
  fi
  diffusion_gpu make_latents.py $options --shard-scenes "$SHARD_SCENES" --ahead "$LATENT_SHARDS" $DEVICE > "$OUT/latents.log" 2>&1 & jobs+=($!)
  diffusion_gpu train_diffusion.py $options --name diffusion "${end[@]}" --graph $EXTRA ${DIFFUSION_EXTRA:-} > "$OUT/diffusion.log" 2>&1 & jobs+=($!)
  for _ in "${jobs[@]}"; do                  # one that fails would keep the others waiting
    if ! wait -n; then
      echo "run_all.sh: diffusion failed: see vae.log, latents.log, diffusion.log and diffusion_captions.log in $OUT" >&2
      kill "${jobs[@]}" 2> /dev/null || true
      exit 1
    fi
  done
}
diffusion_gpu() { CUDA_VISIBLE_DEVICES=$DIFFUSION_GPU exec $PYTHON "$@"; }

sweep() {
  local model gpu=0
  for model in $MODELS; do
    CUDA_VISIBLE_DEVICES=$gpu $PYTHON sweep.py --out "$OUT" --model "$model" --name "$model" ${SWEEP_EXTRA:-} $EXTRA > "$OUT/sweep_$model.log" 2>&1 &
    gpu=$(((gpu + 1) % GPUS))
  done
  if [ -e "$OUT/vqvae" ]; then
    CUDA_VISIBLE_DEVICES=$LAST $PYTHON sweep.py --out "$OUT" --model renders ${SWEEP_EXTRA:-} $DEVICE > "$OUT/sweep_renders.log" 2>&1 &
  fi
  wait
  cat "$OUT"/sweep_*.log
}
export_checkpoints() { $PYTHON export.py --run "$OUT" --out "${CHECKPOINTS:-$HERE/../../Checkpoints}" --models $MODELS $(grep -o -- --tiny <<< "$EXTRA" || true); }

for stage in "${@:-all}"; do
  case $stage in
    all) first; ahead; rest; token_models; diffusion; sweep; export_checkpoints ;;
    first | ahead | rest | token_models | diffusion | sweep) $stage ;;
    export) export_checkpoints ;;
    *) echo "run_all.sh: no stage '$stage'" >&2; exit 64 ;;
  esac
done
