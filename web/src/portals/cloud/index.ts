// The healthcare cloud operator's pages.
import '../../features/training/words';
import { learn } from '../../lib/i18n';
import { statistics } from '../../lib/words.statistics';

export { Attempts } from './Attempts';
export { Charts } from './Charts';
export { Home } from './Home';
export { Ledger } from './Ledger';
export { Members } from './Members';
export { Profiles } from './Profiles';
export { Requests } from './Requests';
export { Sealed } from './Sealed';
export { Store } from './Store';
export { Training } from './Training';
export { TrainingJob } from './TrainingJob';
export { TrainingNew } from './TrainingNew';

learn(statistics);
