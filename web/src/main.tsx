// The app's start: policy first, then styles, language, queries and routes.
import { nonce } from './security';
import './styles';
import './app.css';
import './lib/i18n';
import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { setNonce } from 'get-nonce';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Problem } from './api/client';
import { router } from './routes';
import { current, subscribe } from './session/session';
import { cssVariables, theme } from './theme';

// The scroll lock of dialogs writes one <style>.
setNonce(nonce());

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      // A refusal is an answer; only a node that cannot be reached is asked again.
      retry: (count, error) => count < 1 && !(error instanceof Problem),
      networkMode: 'always',
    },
    mutations: { networkMode: 'always' },
  },
});

// Nothing of a person stays when they have left.
subscribe(() => {
  if (!current().person) queries.clear();
});

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <MantineProvider
      theme={theme}
      cssVariablesResolver={cssVariables}
      defaultColorScheme="auto"
      getStyleNonce={nonce}
    >
      <QueryClientProvider client={queries}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </MantineProvider>
  </StrictMode>,
);

if ('serviceWorker' in navigator)
  void navigator.serviceWorker.register('/sw.js').catch(() => {
    // Without it the page works while there is a network.
  });
