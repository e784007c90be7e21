#!/usr/bin/env bash
# Proves that the engine's core needs no std: it is built without it, its dependencies and their
# features are the listed ones, and it links into a program that has no std at all. A std anywhere
# below would bring a second panic handler, which the compiler refuses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cargo build -p steersman-engine --no-default-features --locked --quiet

list=tests/setup/no-std-dependencies.txt
found=$(cargo tree -p steersman-engine --no-default-features --locked \
    -e normal,no-proc-macro --prefix none --no-dedupe -f '{lib} {f}' | sort -u)
if ! diff -u --label "$list" --label "cargo tree" <(grep -v '^#' "$list") <(echo "$found"); then
    echo "no-std: cannot accept these dependencies; a new one needs a reason in $list" >&2
    exit 1
fi

target=$(cargo metadata --no-deps --format-version 1 --locked |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
rustc --edition 2024 --crate-type staticlib -C panic=abort --out-dir "$target/no-std" \
    --extern steersman_engine="$target/debug/libsteersman_engine.rlib" -L "$target/debug/deps" \
    tests/setup/no_std.rs
echo "the engine links without std; dependencies: $(grep -vc '^#' "$list") listed"
