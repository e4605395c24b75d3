// The patient's pages.
export { AccessPage } from './AccessPage';
export { Ask } from './Ask';
export { ConsultationPage, Consultations } from './Consultations';
export { Export } from './Export';
export { Home } from './Home';
export { Readers } from './Readers';
export { RecordPage } from './RecordPage';
export { Verify } from './Verify';
