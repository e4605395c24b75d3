// Every address of the app. Portals are loaded when somebody goes there.
import {
  createRootRoute,
  createRoute,
  createRouter,
  lazyRouteComponent,
  type RouteComponent,
} from '@tanstack/react-router';
import { Gate, Shell } from './shell';

const root = createRootRoute({ component: Shell, notFoundComponent: lazy('entry', 'Lost') });

function lazy(
  portal: 'entry' | 'patient' | 'doctor' | 'hospital' | 'cloud' | 'check',
  page: string,
): RouteComponent {
  const load = {
    entry: () => import('./portals/entry'),
    patient: () => import('./portals/patient'),
    doctor: () => import('./portals/doctor'),
    hospital: () => import('./portals/hospital'),
    cloud: () => import('./portals/cloud'),
    check: () => import('./portals/check'),
  }[portal];
  return lazyRouteComponent(load as () => Promise<Record<string, RouteComponent>>, page);
}

const entry = (path: string, page: string) =>
  createRoute({ getParentRoute: () => root, path, component: lazy('entry', page) });

const patient = createRoute({
  getParentRoute: () => root,
  path: '/patient',
  component: () => <Gate roles={['patient']} />,
});
const doctor = createRoute({
  getParentRoute: () => root,
  path: '/doctor',
  component: () => <Gate roles={['doctor']} />,
});
const hospital = createRoute({
  getParentRoute: () => root,
  path: '/hospital',
  component: () => <Gate roles={['staff']} />,
});
const cloud = createRoute({
  getParentRoute: () => root,
  path: '/cloud',
  component: () => <Gate roles={['operator']} />,
});
const account = createRoute({
  getParentRoute: () => root,
  path: '/account',
  component: () => <Gate />,
});

const inPatient = (path: string, page: string) =>
  createRoute({
    getParentRoute: () => patient,
    path,
    component: lazy('patient', page),
    validateSearch: (search: Record<string, unknown>): { section?: string; kind?: string } => ({
      section: typeof search.section === 'string' ? search.section : undefined,
    }),
  });
const inDoctor = (path: string, page: string) =>
  createRoute({
    getParentRoute: () => doctor,
    path,
    component: lazy('doctor', page),
    validateSearch: (search: Record<string, unknown>): { section?: string; query?: string } => ({
      section: typeof search.section === 'string' ? search.section : undefined,
      query: typeof search.query === 'string' ? search.query : undefined,
    }),
  });
const inCloud = (path: string, page: string) =>
  createRoute({
    getParentRoute: () => cloud,
    path,
    component: lazy('cloud', page),
    // What is searched and filtered stands in the address; every word of it is text.
    validateSearch: (search: Record<string, unknown>): Record<string, string> =>
      Object.fromEntries(
        ['query', 'standing', 'role', 'hospital', 'state'].flatMap((name) => {
          const word = search[name];
          return word === undefined || word === '' ? [] : [[name, String(word)]];
        }),
      ),
  });

const inHospital = (path: string, page: string) =>
  createRoute({ getParentRoute: () => hospital, path, component: lazy('hospital', page) });

const tree = root.addChildren([
  entry('/', 'Start'),
  entry('/login', 'LogIn'),
  entry('/register', 'Register'),
  entry('/recover', 'Recover'),
  createRoute({ getParentRoute: () => root, path: '/check', component: lazy('check', 'Check') }),
  account.addChildren([
    createRoute({ getParentRoute: () => account, path: '/', component: lazy('entry', 'Account') }),
    createRoute({
      getParentRoute: () => account,
      path: '/elsewhere',
      component: lazy('entry', 'Elsewhere'),
    }),
  ]),
  patient.addChildren([
    inPatient('/', 'Home'),
    inPatient('/access', 'AccessPage'),
    inPatient('/record', 'RecordPage'),
    inPatient('/ask', 'Ask'),
    inPatient('/consultations', 'Consultations'),
    inPatient('/consultations/$id', 'ConsultationPage'),
    inPatient('/readers', 'Readers'),
    inPatient('/verify', 'Verify'),
    inPatient('/export', 'Export'),
  ]),
  doctor.addChildren([
    inDoctor('/', 'Home'),
    inDoctor('/consultations/$id', 'ConsultationPage'),
    inDoctor('/prescriptions', 'Prescriptions'),
    inDoctor('/prescriptions/$record', 'PrescriptionPage'),
  ]),
  hospital.addChildren([
    inHospital('/', 'Home'),
    inHospital('/intake', 'IntakePage'),
    inHospital('/many', 'Many'),
    inHospital('/patients', 'Patients'),
    inHospital('/patients/$alias', 'PatientPage'),
    inHospital('/requests', 'Requests'),
    inHospital('/left', 'Left'),
    inHospital('/training', 'Training'),
    inHospital('/training/$id', 'TrainingJob'),
    inHospital('/charts', 'Charts'),
  ]),
  cloud.addChildren([
    inCloud('/', 'Home'),
    inCloud('/profiles', 'Profiles'),
    inCloud('/store', 'Store'),
    inCloud('/store/$alias', 'Sealed'),
    inCloud('/requests', 'Requests'),
    inCloud('/attempts', 'Attempts'),
    inCloud('/charts', 'Charts'),
    inCloud('/ledger', 'Ledger'),
    inCloud('/members', 'Members'),
    inCloud('/training', 'Training'),
    inCloud('/training/new', 'TrainingNew'),
    inCloud('/training/$id', 'TrainingJob'),
  ]),
]);

export const router = createRouter({ routeTree: tree, defaultPreload: false });

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
