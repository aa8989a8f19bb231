#!/bin/bash
# The table of the README, through the command itself: every prompt with the checkpoint's own settings.
#
#   judge_command.sh TTI_AR JUDGE.pt OUT [CHECKPOINT ...]       (scenes-masked and scenes-ar, in Checkpoints/)
#
# COUNT prompts a row (400), PROCESSES beside each other (half of the processors), THREADS each (2). Writes
# OUT/NAME.json and OUT/NAME.png, a grid of the first six prompts of each row, and prints all tables as one JSON object.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
COMMAND=$(realpath "$1"); JUDGE=$2; mkdir -p "$3"; OUT=$(cd "$3" && pwd); shift 3
ROOT=$(cd "$HERE/../.." && pwd)
[ $# -gt 0 ] || set -- "$ROOT/Checkpoints/scenes-ar" "$ROOT/Checkpoints/scenes-masked"
THREADS=${THREADS:-2}
PROCESSES=${PROCESSES:-$(($(nproc) / THREADS > 0 ? $(nproc) / THREADS : 1))}
PYTHON=${PYTHON:-python3}

$PYTHON "$HERE/prompts.py" "$OUT/prompts" --count "${COUNT:-400}"
# Shards of a few prompts each: the slow and the fast ones even out, and a checkpoint loads in no time.
rm -rf "$OUT/shards"; mkdir -p "$OUT/shards"
split -n r/$((PROCESSES * 2)) -d -a 4 "$OUT/prompts/prompts.jsonl" "$OUT/shards/part-"
began=$(date +%s)
for checkpoint in "$@"; do
  name=$(basename "$checkpoint"); mkdir -p "$OUT/$name"
  for part in "$OUT"/shards/part-*; do printf '%s\0%s\0%s\0' "$checkpoint" "$part" "$OUT/$name"; done
done > "$OUT/jobs"
xargs -0 -n 3 -P "$PROCESSES" sh -c '
  [ -s "$4" ] || exit 0
  "$0" generate --prompts "$4" --json -o "$5/{id}.png" --metadata none -m "$3" --threads "$2" > "$4.$(basename "$5").json" 2>> "$1/errors.log" || echo "exit $?: $4" >> "$1/errors.log"
' "$COMMAND" "$OUT" "$THREADS" < "$OUT/jobs"
echo "$(($(date +%s) - began)) s for all pictures" >&2
[ ! -s "$OUT/errors.log" ] || tail -5 "$OUT/errors.log" >&2
for checkpoint in "$@"; do
  name=$(basename "$checkpoint")
  $PYTHON "$HERE/evaluate.py" --prompts "$OUT/prompts" --pictures "$OUT/$name" --judge "$JUDGE" --out "$OUT/$name.json" --grid "$OUT/$name.png" >&2
done
$PYTHON - "$OUT" "$@" <<'END'
import json, os, sys
print(json.dumps({os.path.basename(c): json.load(open(f"{sys.argv[1]}/{os.path.basename(c)}.json"))["rows"] for c in sys.argv[2:]}))
END
