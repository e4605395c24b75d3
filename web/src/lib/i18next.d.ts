import 'i18next';
import type { Key } from './words';

declare module 'i18next' {
  interface CustomTypeOptions {
    keySeparator: false;
    nsSeparator: false;
    resources: { translation: Record<Key, string> };
  }
}
