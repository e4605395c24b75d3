// A chart of patients: bars with their words and numbers as text, the same as a table, and who could have
// seen what.
import { Button, Card, Stack, Switch, Table, Text, Title } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { number } from '../../lib/format';
import type { Chart } from '../../records/statistics';
import { Empty, Scroll } from '../../ui/page';
import { type Row, UNCODED } from './pool';

/** Bars that are shown before somebody asks for more. */
const SHOWN = 12;

/** One more column of the table. */
export interface Column {
  title: string;
  of: (row: Row) => string;
}

export function Figure({
  chart,
  rows,
  say,
  columns,
  nameOf,
  empty,
  children,
}: {
  chart: Chart;
  rows: Row[];
  /** A row's number in words. */
  say: (patients: number) => string;
  columns: Column[];
  /** The name of a doctor. */
  nameOf: (doctor: string) => string | undefined;
  empty: ReactNode;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  const [all, setAll] = useState(false);
  const [table, setTable] = useState(false);
  const title = t(`stats.${chart}`);
  const label = ({ key, label: words, code, doctor }: Row): string => {
    if (key === UNCODED) return t('stats.uncoded');
    if (doctor !== undefined)
      return (
        nameOf(doctor) ?? t('stats.unknownDoctor', { number: doctor.slice(0, 8).toUpperCase() })
      );
    return words || t('stats.noWords', { code });
  };
  const most = Math.max(1, ...rows.map(({ total }) => total));
  const shown = all ? rows : rows.slice(0, SHOWN);
  return (
    <Card withBorder component="section" aria-label={title}>
      <Stack gap="sm">
        <Title order={2} size="h4">
          {title}
        </Title>
        {rows.length === 0 ? (
          <Empty>{empty}</Empty>
        ) : (
          <>
            <ul className="plain bars" aria-label={title}>
              {shown.map((row) => (
                <li key={row.key}>
                  <span className="wrap">{label(row)}</span>
                  <span className="bars-value">{say(row.total)}</span>
                  <span className="bars-track" aria-hidden>
                    <span className="bars-bar" style={{ width: `${(100 * row.total) / most}%` }} />
                  </span>
                </li>
              ))}
            </ul>
            {rows.length > shown.length && (
              <Button variant="default" w="fit-content" onClick={() => setAll(true)}>
                {t('more', { count: rows.length - shown.length })}
              </Button>
            )}
            <Switch
              label={t('asTableOf', { name: title })}
              checked={table}
              onChange={(event) => setTable(event.currentTarget.checked)}
            />
            {table && (
              <Scroll label={t('asTableOf', { name: title })}>
                <Table striped miw={520}>
                  <Table.Thead>
                    <Table.Tr>
                      <Table.Th scope="col">
                        {t(chart === 'symptoms' ? 'stats.symptom' : 'stats.doctor')}
                      </Table.Th>
                      {chart === 'symptoms' && <Table.Th scope="col">{t('stats.code')}</Table.Th>}
                      {columns.map((column) => (
                        <Table.Th scope="col" key={column.title}>
                          {column.title}
                        </Table.Th>
                      ))}
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {rows.map((row) => (
                      <Table.Tr key={row.key}>
                        <Table.Td className="wrap">{label(row)}</Table.Td>
                        {chart === 'symptoms' && (
                          <Table.Td className="mono">{row.code ?? '–'}</Table.Td>
                        )}
                        {columns.map((column) => (
                          <Table.Td key={column.title}>{column.of(row)}</Table.Td>
                        ))}
                      </Table.Tr>
                    ))}
                  </Table.Tbody>
                </Table>
              </Scroll>
            )}
          </>
        )}
        {children}
        <div>
          <Title order={3} size="h5">
            {t('stats.who')}
          </Title>
          <Text size="sm" maw={720}>
            {t(`stats.${chart}.who`)}
          </Text>
        </div>
      </Stack>
    </Card>
  );
}

/** A number, or a dash where nothing is said. */
export const cellText = (patients: number | undefined): string =>
  patients === undefined ? '–' : number(patients, 0);
