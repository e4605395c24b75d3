// Builds the portals. The node embeds `dist/` and replaces the nonce in every response.
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  plugins: [react()],
  worker: { format: 'es' },
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    outDir: 'dist/app',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    // The content security policy has no place for data URLs of scripts or styles.
    assetsInlineLimit: 0,
    manifest: true,
  },
});
