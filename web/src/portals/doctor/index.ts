// The doctor's pages.
export { ConsultationPage } from './ConsultationPage';
export { Home } from './Home';
export { PrescriptionPage } from './PrescriptionPage';
export { Prescriptions } from './Prescriptions';
