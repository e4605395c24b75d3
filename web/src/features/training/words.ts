// Loads the texts of these pages together with them.
import { learn } from '../../lib/i18n';
import { training } from '../../lib/words.training';

learn(training);
