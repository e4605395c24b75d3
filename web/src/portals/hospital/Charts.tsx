// How many of this hospital's patients have which symptom and consulted which doctor: as they are, and
// what of it leaves.
import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { ok, type Schema } from '../../api/client';
import { cellText, Figure } from '../../features/statistics/Figure';
import { ownRows, type Row } from '../../features/statistics/pool';
import { type Told, useOwnCounts } from '../../features/statistics/queries';
import { CHARTS, type Chart } from '../../records/statistics';
import { usePerson } from '../../session/use';
import { useLedger } from '../../shell';
import { Answer, Page } from '../../ui/page';

export function Charts() {
  const { t } = useTranslation();
  const told = useOwnCounts();
  return (
    <Page title={t('nav.charts')}>
      <Text maw={720}>{t('stats.own.text')}</Text>
      <Answer query={told}>
        {(answer) =>
          answer.exact ? (
            <>
              {!answer.complete && (
                <Text role="status">
                  {t('stats.own.counting', {
                    done: cellText(answer.exact.patients + answer.exact.unreadable),
                    of: cellText(answer.exact.of),
                  })}
                </Text>
              )}
              {CHARTS.map((chart) => (
                <Patients key={chart} chart={chart} told={answer} exact={answer.exact!} />
              ))}
            </>
          ) : null
        }
      </Answer>
    </Page>
  );
}

function Patients({
  chart,
  told,
  exact,
}: {
  chart: Chart;
  told: Told;
  exact: Schema['ExactCounts'];
}) {
  const { t } = useTranslation();
  const nameOf = useDoctorNames();
  const left = told.counts.find((counts) => counts.chart === chart);
  const rows = ownRows(exact, left, chart);
  const count = chart === 'symptoms' ? exact.patients : exact.consulting;
  return (
    <Figure
      chart={chart}
      rows={rows}
      say={(patients) => t('stats.exact', { count: patients })}
      columns={[
        { title: t('stats.patients'), of: ({ total }) => cellText(total) },
        {
          title: t('stats.leaves'),
          of: (row: Row & { leaves?: number }) =>
            row.leaves === undefined ? t('stats.stays') : t('stats.about', { count: row.leaves }),
        },
      ]}
      nameOf={nameOf}
      empty={t('stats.own.none')}
    >
      <Text size="sm">{t('stats.own.of', { count })}</Text>
      {chart === 'symptoms' && exact.unreadable > 0 && (
        <Text size="sm" className="warn">
          {t('stats.unreadable', { count: exact.unreadable })}
        </Text>
      )}
      <Text size="sm" maw={720}>
        {t('stats.own.rule', { threshold: left?.threshold ?? 5, rounding: left?.rounding ?? 5 })}
      </Text>
    </Figure>
  );
}

/** Names of doctors from the directories of this node and of the cloud, where most accounts live. */
function useDoctorNames(): (doctor: string) => string | undefined {
  const person = usePerson();
  const ledger = useLedger();
  const clouds = (ledger.data?.members ?? []).filter(({ roles }) => roles.includes('cloud'));
  const found = useQuery({
    queryKey: ['doctors', 'names', clouds.map(({ api }) => api).join(' ')],
    enabled: ledger.data !== undefined,
    queryFn: async () => {
      const nodes = [person.home];
      for (const { api } of clouds) nodes.push(await person.at(api));
      const lists = await Promise.all(
        nodes.map((node) =>
          person.list((after) =>
            ok(node.api.GET('/api/v1/doctors', { params: { query: { after, limit: 500 } } })),
          ),
        ),
      );
      return new Map(lists.flat().map(({ principal, name }) => [principal, name ?? undefined]));
    },
  });
  return (doctor) => found.data?.get(doctor);
}
