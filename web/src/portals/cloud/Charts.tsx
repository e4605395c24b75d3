// The two charts of the mission, from counts that each hospital signed over its own patients.
import { Alert, NativeSelect, Text } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { cellText, Figure } from '../../features/statistics/Figure';
import { chartOf, pooled, type Site } from '../../features/statistics/pool';
import { useHospitals } from '../../features/statistics/queries';
import { dateTime } from '../../lib/format';
import { CHARTS, type Chart } from '../../records/statistics';
import { useLedger } from '../../shell';
import { Empty, Failure, Page, Waiting } from '../../ui/page';
import { othersOf, useWatch, useWho } from './queries';
import { useSay } from './say';

export function Charts() {
  const t = useSay();
  const ledger = useLedger();
  useWatch(othersOf(ledger.data));
  const { sites, counting, unreachable, distrusted, pending, error, none } = useHospitals();
  const { hospital = '' } = useSearch({ strict: false }) as { hospital?: string };
  const go = useNavigate();
  const shown = hospital ? sites.filter(({ organisation }) => organisation === hospital) : sites;
  const ready = sites.length > 0 || !pending;
  return (
    <Page title={t('nav.charts')}>
      <Text maw={720}>
        {t('stats.text')} {t('cloud.live')}
      </Text>
      {sites.length > 0 && (
        <NativeSelect
          label={t('stats.show')}
          maw={400}
          value={hospital}
          onChange={(event) =>
            void go({
              to: '/cloud/charts',
              search: { hospital: event.currentTarget.value || undefined } as never,
              replace: true,
            })
          }
          data={[
            { value: '', label: t('stats.all') },
            ...sites.map(({ organisation, name }) => ({ value: organisation, label: name })),
          ]}
        />
      )}
      {distrusted.length > 0 && (
        <Alert role="alert" variant="outline" color="red" icon={<IconAlertTriangle aria-hidden />}>
          {t('stats.distrusted', { names: distrusted.join(', ') })}
        </Alert>
      )}
      {unreachable.length > 0 && (
        <Alert variant="outline" color="yellow" icon={<IconAlertTriangle aria-hidden />}>
          {t('stats.unreachable', { names: unreachable.join(', ') })}
        </Alert>
      )}
      {counting.map((name) => (
        <Text key={name} role="status">
          {t('stats.counting', { name })}
        </Text>
      ))}
      {error !== null && <Failure error={error} />}
      {!ready && !error && <Waiting />}
      {none && <Empty>{t('stats.noHospital')}</Empty>}
      {sites.length > 0 &&
        CHARTS.map((chart) => <Patients key={chart} chart={chart} sites={shown} />)}
    </Page>
  );
}

function Patients({ chart, sites }: { chart: Chart; sites: Site[] }) {
  const t = useSay();
  const who = useWho();
  const rows = pooled(sites, chart);
  const several = sites.length > 1;
  const rule = sites.flatMap((site) => chartOf(site, chart) ?? [])[0];
  const total = {
    title: t(several ? 'stats.total' : 'stats.patients'),
    of: (row: { total: number }) => cellText(row.total),
  };
  const columns = several
    ? [
        ...sites.map(({ name }, at) => ({
          title: name,
          of: (row: { at: (number | undefined)[] }) => cellText(row.at[at]),
        })),
        total,
      ]
    : [total];
  return (
    <Figure
      chart={chart}
      rows={rows}
      say={(count) => t('stats.about', { count })}
      columns={columns}
      nameOf={who}
      empty={t('stats.none')}
    >
      <div>
        {sites.map((site) => {
          const counts = chartOf(site, chart);
          const { name } = site;
          return (
            <Text size="sm" key={site.organisation} className="wrap">
              {counts?.patients === undefined
                ? t('stats.asOf.few', { name })
                : t('stats.asOf', {
                    name,
                    at: dateTime(counts.counted),
                    patients: cellText(counts.patients),
                  })}
            </Text>
          );
        })}
      </div>
      <Text size="sm" maw={720}>
        {t('stats.rule', { threshold: rule?.threshold ?? 5, rounding: rule?.rounding ?? 5 })}
      </Text>
    </Figure>
  );
}
