//! Salus: sim.
