// The frame of every page: whose node this is, where one can go, language, colours, leaving.
import {
  ActionIcon,
  Alert,
  AppShell,
  Burger,
  Button,
  Container,
  Group,
  NativeSelect,
  NavLink,
  Text,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure, useReducedMotion } from '@mantine/hooks';
import { IconHeartRateMonitor, IconLock, IconMoonStars, IconWifiOff } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router';
import { Suspense, useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { node, ok } from './api/client';
import { type Key, LANGUAGES, type Language, speak } from './lib/i18n';
import type { Role } from './records/codes';
import type { Person } from './session/person';
import { leave } from './session/session';
import { PersonContext, useLive, useSession } from './session/use';
import { Waiting } from './ui/page';

const MENU: Partial<Record<Role, { to: string; label: Key }[]>> = {
  patient: [
    { to: '/patient', label: 'nav.home' },
    { to: '/patient/access', label: 'nav.access' },
    { to: '/patient/record', label: 'nav.record' },
    { to: '/patient/ask', label: 'nav.ask' },
    { to: '/patient/consultations', label: 'nav.answers' },
    { to: '/patient/readers', label: 'nav.readers' },
    { to: '/patient/verify', label: 'nav.verify' },
    { to: '/patient/export', label: 'nav.export' },
  ],
  doctor: [
    { to: '/doctor', label: 'nav.shared' },
    { to: '/doctor/prescriptions', label: 'nav.prescriptions' },
  ],
  staff: [
    { to: '/hospital', label: 'nav.h.home' },
    { to: '/hospital/intake', label: 'nav.h.intake' },
    { to: '/hospital/many', label: 'nav.h.many' },
    { to: '/hospital/patients', label: 'nav.h.patients' },
    { to: '/hospital/requests', label: 'nav.h.requests' },
    { to: '/hospital/left', label: 'nav.h.left' },
    { to: '/hospital/training', label: 'nav.training' },
    { to: '/hospital/charts', label: 'nav.charts' },
  ],
  operator: [
    { to: '/cloud', label: 'nav.home' },
    { to: '/cloud/profiles', label: 'nav.profiles' },
    { to: '/cloud/store', label: 'nav.store' },
    { to: '/cloud/requests', label: 'nav.requests' },
    { to: '/cloud/attempts', label: 'nav.attempts' },
    { to: '/cloud/charts', label: 'nav.charts' },
    { to: '/cloud/ledger', label: 'nav.ledger' },
    { to: '/cloud/members', label: 'nav.members' },
    { to: '/cloud/training', label: 'nav.training' },
  ],
};

const HOMES: Partial<Record<Role, string>> = {
  patient: '/patient',
  doctor: '/doctor',
  staff: '/hospital',
  operator: '/cloud',
};

/** Where a role begins. */
export const homeOf = (role: Role): string => HOMES[role] ?? '/account/elsewhere';

/** The ledger's public status: whose node this is, and who the members are. */
export const useLedger = () =>
  useQuery({
    queryKey: ['ledger'],
    queryFn: () => ok(node(location.origin).api.GET('/api/v1/ledger')),
  });

function Offline() {
  const { t } = useTranslation();
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = (): void => setOnline(navigator.onLine);
    addEventListener('online', look);
    addEventListener('offline', look);
    return () => {
      removeEventListener('online', look);
      removeEventListener('offline', look);
    };
  }, []);
  if (online) return null;
  return (
    <Alert
      role="alert"
      variant="outline"
      mb="md"
      icon={<IconWifiOff aria-hidden />}
      title={t('offline.title')}
    >
      {t('offline.text')}
    </Alert>
  );
}

export function Shell() {
  const { t, i18n } = useTranslation();
  const [open, menu] = useDisclosure(false);
  const { toggleColorScheme } = useMantineColorScheme();
  const { person } = useSession();
  const { pathname } = useLocation();
  const ledger = useLedger();
  const here = ledger.data?.members.find((m) => m.organisation === ledger.data.organisation);
  const entries = person ? (MENU[person.role] ?? []) : [];
  useEffect(() => menu.close(), [pathname]);
  const still = useReducedMotion();
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 250, breakpoint: 'sm', collapsed: { mobile: !open, desktop: !person } }}
      padding="md"
      transitionDuration={still ? 0 : undefined}
    >
      <a href="#main" className="skip">
        {t('skip')}
      </a>
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap" gap="xs">
          <Group gap="xs" wrap="nowrap" miw={0}>
            {person && (
              <Burger
                opened={open}
                onClick={menu.toggle}
                hiddenFrom="sm"
                aria-label={t('menu')}
                aria-expanded={open}
                size="sm"
              />
            )}
            <IconHeartRateMonitor aria-hidden style={{ flexShrink: 0 }} />
            <Text fw={700}>Salus</Text>
            <Text c="dimmed" truncate visibleFrom="sm">
              {here?.name}
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <NativeSelect
              aria-label={t('language')}
              value={i18n.language}
              w={{ base: 100, sm: 120 }}
              rightSectionWidth={28}
              data={Object.entries(LANGUAGES).map(([value, label]) => ({ value, label }))}
              onChange={(event) => speak(event.currentTarget.value as Language)}
            />
            <ActionIcon
              variant="default"
              size="lg"
              aria-label={t('colours')}
              onClick={toggleColorScheme}
            >
              <IconMoonStars size={18} aria-hidden />
            </ActionIcon>
            {person && (
              <>
                <Button
                  variant="default"
                  leftSection={<IconLock size={16} aria-hidden />}
                  visibleFrom="sm"
                  onClick={() => leave('out')}
                >
                  {t('leave')}
                </Button>
                <ActionIcon
                  variant="default"
                  size="lg"
                  hiddenFrom="sm"
                  aria-label={t('leave')}
                  onClick={() => leave('out')}
                >
                  <IconLock size={18} aria-hidden />
                </ActionIcon>
              </>
            )}
          </Group>
        </Group>
      </AppShell.Header>
      {person && (
        <AppShell.Navbar p="xs" aria-label={t('menu')}>
          {entries.map(({ to, label }) => (
            <NavLink
              key={to}
              component={Link}
              to={to}
              activeOptions={{ exact: true }}
              label={t(label)}
              active={pathname.replace(/\/$/, '') === to}
              aria-current={pathname.replace(/\/$/, '') === to ? 'page' : undefined}
              variant="light"
            />
          ))}
          <NavLink
            component={Link}
            to="/account"
            label={t('nav.account')}
            active={pathname === '/account'}
            aria-current={pathname === '/account' ? 'page' : undefined}
            variant="light"
          />
        </AppShell.Navbar>
      )}
      <AppShell.Main id="main" tabIndex={-1}>
        <Container size={1120} px={0}>
          <Offline />
          <Suspense fallback={<Waiting />}>
            <Outlet />
          </Suspense>
        </Container>
      </AppShell.Main>
    </AppShell>
  );
}

/** Leads elsewhere, once: the address changes while the other page loads, which must not start it anew. */
export function Redirect({ to, next }: { to: string; next?: string }) {
  const go = useNavigate();
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    void go({ to, search: (next ? { next } : {}) as never, replace: true });
  });
  return <Waiting />;
}

/** Lets in whoever has a session and one of the roles; everybody else is led where they belong. */
export function Gate({ roles }: { roles?: Role[] }) {
  const { person } = useSession();
  const { pathname } = useLocation();
  if (!person) return <Redirect to="/login" next={pathname} />;
  if (roles && !roles.includes(person.role)) return <Redirect to={homeOf(person.role)} />;
  return (
    <PersonContext value={person}>
      <Live person={person} />
      <Suspense fallback={<Waiting />}>
        <Outlet />
      </Suspense>
    </PersonContext>
  );
}

function Live({ person }: { person: Person }) {
  const mine = useQuery({
    queryKey: ['mine'],
    queryFn: () =>
      person.list((after) =>
        ok(person.home.api.GET('/api/v1/patients/mine', { params: { query: { after } } })),
      ),
    enabled: person.role === 'patient',
  });
  useLive(person, [...new Set((mine.data ?? []).map(({ api }) => new URL(api).origin))]);
  return null;
}
