#!/bin/sh
# Counts lines: of this dataset, and of all before it.
set -eu
before=0
if [ -n "${BATCH_PREVIOUS-}" ]; then before=$(cat "$BATCH_PREVIOUS/total"); fi
lines=$(wc -l < "$BATCH_INPUT")
echo "$lines" > "$BATCH_OUTPUT/lines"
echo $((before + lines)) > "$BATCH_OUTPUT/total"
echo "$lines lines in $(basename "$BATCH_INPUT")"
