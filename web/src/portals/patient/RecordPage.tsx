// My record, section by section: opening a section is reading, and leaves its receipt.
import { Stack, Text, Title } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useMemo } from 'react';
import { useTranslation } from 'react-i18next';
import { type Place, useOpened, useSealed } from '../../features/care/queries';
import { SectionNav } from '../../features/care/SectionNav';
import { WithPlace } from '../../features/care/WithPlace';
import { SectionView } from '../../features/record/RecordView';
import { counts, ORDER, type Section, sectionOf } from '../../features/record/sections';
import { Answer, Empty, Page } from '../../ui/page';

export function RecordPage() {
  const { t } = useTranslation();
  return (
    <Page title={t('nav.record')}>
      <WithPlace>{(place) => <Sections key={place.alias} place={place} />}</WithPlace>
    </Page>
  );
}

function Sections({ place }: { place: Place }) {
  const { t } = useTranslation();
  const sealed = useSealed(place);
  const { section: asked } = useSearch({ strict: false }) as { section?: string };
  const go = useNavigate();
  const present = useMemo(
    () => counts((sealed.data ?? []).map((record) => record.kind)),
    [sealed.data],
  );
  const section =
    ORDER.find((one) => one === asked) ?? ORDER.find((one) => present.has(one)) ?? 'person';
  const records = useMemo(
    () =>
      sealed.data
        ?.filter((record) => sectionOf(record.kind) === section)
        .map((record) => record.record)
        .sort(),
    [sealed.data, section],
  );
  const opened = useOpened(place, records);
  return (
    <Answer query={sealed}>
      {(list) =>
        list.length === 0 ? (
          <Empty>{t('record.empty')}</Empty>
        ) : (
          <Stack>
            <SectionNav
              counts={present}
              section={section}
              choose={(one: Section) =>
                void go({ to: '/patient/record', search: { section: one } })
              }
            />
            <Title order={2} size="h3">
              {t(`section.${section}`)}
            </Title>
            <Answer query={opened} waiting={t('record.opening', { count: records?.length ?? 0 })}>
              {(items) => <SectionView section={section} opened={items} />}
            </Answer>
            <Text size="sm" c="dimmed">
              {t('record.receipt')}
            </Text>
          </Stack>
        )
      }
    </Answer>
  );
}
