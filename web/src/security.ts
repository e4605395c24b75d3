// Imported before everything else: the only Trusted Types policy, and the nonce for styles.
// Mantine writes its CSS variables through innerHTML of a <style>: text without markup may pass.

interface Policies {
  createPolicy(
    name: string,
    rules: { createHTML: (text: string) => string; createScriptURL: (url: string) => string },
  ): unknown;
}

function ownScript(url: string): string {
  const { origin, pathname, href } = new URL(url, location.origin);
  if (origin === location.origin && (pathname.startsWith('/assets/') || pathname === '/sw.js'))
    return href;
  throw new TypeError('a script from elsewhere');
}

function plainText(text: string): string {
  if (/[<&]/.test(text)) throw new TypeError('markup from text');
  return text;
}

const { trustedTypes } = globalThis as { trustedTypes?: Policies };
trustedTypes?.createPolicy('default', { createHTML: plainText, createScriptURL: ownScript });

export const nonce = (): string =>
  document.querySelector<HTMLMetaElement>('meta[property="csp-nonce"]')?.nonce ?? '';
