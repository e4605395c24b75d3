// The hospital staff's pages.
import '../../features/training/words';
import { learn } from '../../lib/i18n';
import { hospital } from '../../lib/words.hospital';
import { many } from '../../lib/words.many';
import { statistics } from '../../lib/words.statistics';

export { Charts } from './Charts';
export { Home } from './Home';
export { IntakePage } from './IntakePage';
export { Left } from './Left';
export { Many } from './Many';
export { PatientPage } from './PatientPage';
export { Patients } from './Patients';
export { Requests } from './Requests';
export { Training } from './Training';
export { TrainingJob } from './TrainingJob';

learn(hospital);
learn(many);
learn(statistics);
