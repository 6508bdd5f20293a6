#!/usr/bin/env bash
# Everything that has to hold before a change lands: format, lints, tests, docs, examples.
# Needs nothing but Rust (https://rustup.rs) and, on a fresh Debian, installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

step "tools"
if ! command -v cc >/dev/null; then
  (apt-get update && apt-get install -y --no-install-recommends build-essential) >/dev/null
fi
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
export RUSTFLAGS="${RUSTFLAGS:-} -D warnings"
export RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings"
export INSTA_UPDATE=no CI=true
# Debug information is a third of the build's time and of no use here.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0
features=$(sed -n '/^\[features\]/,/^\[/s/^\([a-z_-]*\) *=.*/\1/p' Cargo.toml | grep -v '^default$')

step "format"
cargo fmt --all --check

step "lints without features"
cargo clippy --no-default-features --all-targets
for feature in $features; do
  step "lints with $feature alone"
  cargo clippy --no-default-features --features "$feature" --all-targets
done
step "lints with all features"
cargo clippy --all-features --all-targets

# The files under tests/ use the public interface, which features only add to: once is enough.
step "unit tests without features"
cargo test --no-default-features --lib
for feature in $features; do
  step "unit tests with $feature alone"
  cargo test --no-default-features --features "$feature" --lib
done
step "all tests with all features"
cargo test --all-features --lib --tests
step "doc tests"
cargo test --all-features --doc

step "docs"
cargo doc --all-features --no-deps

step "examples"
for example in examples/*.rs; do
  name=$(basename "$example" .rs)
  printf -- '-- %s\n' "$name"
  cargo run --quiet --all-features --example "$name" >/dev/null
done

step "benchmarks, quick sizes"
# What it costs depends on the machine: that every figure comes is what has to hold. Built quickly
# rather than as it is measured.
export CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16 CARGO_PROFILE_BENCH_DEBUG=0
cargo bench --bench peers --features sqlite,redb -- --quick

step "package"
cargo package --allow-dirty --no-verify

step "done"
