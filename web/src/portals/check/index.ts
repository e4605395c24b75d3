// The pharmacy's page, for everybody.
import { learn } from '../../lib/i18n';
import { check } from '../../lib/words.check';

export { Check } from './Check';

learn(check);
