// The sections of a record as links; which one is open stands in the address.
import { Button, Group, NativeSelect } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { ORDER, type Section } from '../record/sections';

export function SectionNav({
  counts,
  section,
  choose,
}: {
  counts: Map<Section, number>;
  section: Section;
  choose: (section: Section) => void;
}) {
  const { t } = useTranslation();
  const present = ORDER.filter((one) => counts.has(one));
  const label = (one: Section) => `${t(`section.${one}`)} (${counts.get(one) ?? 0})`;
  return (
    <nav aria-label={t('record.sections')} className="no-print">
      <NativeSelect
        hiddenFrom="sm"
        label={t('record.sections')}
        value={section}
        data={present.map((value) => ({ value, label: label(value) }))}
        onChange={(event) => choose(event.currentTarget.value as Section)}
      />
      <Group gap="xs" visibleFrom="sm">
        {present.map((one) => (
          <Button
            key={one}
            size="compact-md"
            variant={one === section ? 'filled' : 'default'}
            aria-current={one === section ? 'true' : undefined}
            onClick={() => choose(one)}
          >
            {label(one)}
          </Button>
        ))}
      </Group>
    </nav>
  );
}
