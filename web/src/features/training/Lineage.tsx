// Where a model comes from: plan, hospitals with their data versions, rounds, uses.
import { Stack, Table, Text } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import type { Schema } from '../../api/client';
import { number } from '../../lib/format';
import { Answer, Scroll } from '../../ui/page';
import { useLineage } from './queries';

/** Whoever had a part in the model; before the first round whoever is asked. */
const trained = (sites: Schema['SiteView'][]): Schema['SiteView'][] => {
  const counted = sites.filter((site) => site.counted > 0);
  return counted.length > 0 ? counted : sites;
};

const shortened = (digest: string): string => `${digest.slice(0, 16)}…`;

export function Lineage({ job, api }: { job: string; api?: string }) {
  const { t } = useTranslation();
  const lineage = useLineage(job, api);
  return (
    <Answer query={lineage}>
      {(one) => (
        <Stack gap="sm">
          <Text className="wrap">{one.purpose}</Text>
          <Digest word={t('f.lineage.model')} digest={one.model} />
          <Digest word={t('f.lineage.plan')} digest={one.plan} />
          <Text>{t('f.lineage.uses', { count: one.uses.length })}</Text>
          <Scroll label={t('f.lineage.members')}>
            <Table miw={420}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t('f.lineage.members')}</Table.Th>
                  <Table.Th scope="col">{t('f.images')}</Table.Th>
                  <Table.Th scope="col">{t('f.counted')}</Table.Th>
                  <Table.Th scope="col">{t('f.lineage.data')}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {trained(one.sites).map((site) => (
                  <Table.Tr key={site.site}>
                    <Table.Th scope="row" className="wrap">
                      {site.name}
                    </Table.Th>
                    <Table.Td>{number(site.samples, 0)}</Table.Td>
                    <Table.Td>{site.counted}</Table.Td>
                    <Table.Td className="mono">{shortened(site.data_set)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Scroll>
          <Scroll label={t('f.lineage.rounds')}>
            <Table miw={420}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col">{t('f.round')}</Table.Th>
                  <Table.Th scope="col">{t('f.lineage.sites')}</Table.Th>
                  <Table.Th scope="col">{t('f.took')}</Table.Th>
                  <Table.Th scope="col">{t('f.lineage.modelAfter')}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {one.rounds.map((round) => (
                  <Table.Tr key={round.round}>
                    <Table.Th scope="row">{round.round + 1}</Table.Th>
                    <Table.Td>{round.sites}</Table.Td>
                    <Table.Td>
                      {t('f.seconds', { seconds: number(round.took_ms / 1000, 1) })}
                    </Table.Td>
                    <Table.Td className="mono">{shortened(round.model)}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Scroll>
        </Stack>
      )}
    </Answer>
  );
}

function Digest({ word, digest }: { word: string; digest: string }) {
  return (
    <div className="wrap">
      <Text size="sm" c="dimmed">
        {word}
      </Text>
      <Text size="sm" className="mono">
        {digest}
      </Text>
    </div>
  );
}
