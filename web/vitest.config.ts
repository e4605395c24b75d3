// Tests on Node: golden vectors shared with Rust, and the code path without native algorithms.
import { defineConfig } from 'vitest/config';

export default defineConfig({ test: { include: ['src/**/*.test.{ts,tsx}'], testTimeout: 60_000 } });
