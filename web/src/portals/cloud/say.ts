// The portal's own texts in components.
import { useTranslation } from 'react-i18next';
import type { Say } from './words';

export function useSay(): Say {
  const { t } = useTranslation();
  // Typed by the words of this portal, which the shared type does not list.
  return t as unknown as Say;
}
