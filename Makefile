# Each target is one line; the work is in the program, in cargo and in scripts/.
.PHONY: demo test check bench bench-peers soak accuracy fix

demo: ; @sh scripts/demo.sh
test: ; @sh scripts/test.sh
check: ; cargo fmt --all --check && cargo xtask check && cargo clippy --workspace --all-targets -- -D warnings
bench: ; @sh scripts/bench.sh
bench-peers: ; @sh scripts/bench-peers.sh
soak: ; @sh scripts/soak.sh
accuracy: ; @sh scripts/accuracy.sh
fix: ; cargo fmt --all
