// A page about one hospital's records: chooses the hospital, and says what is missing.
import { Button, NativeSelect, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Empty, Failure, Waiting } from '../../ui/page';
import type { OwnAlias, Place } from './queries';
import { usePlace } from './usePlace';

export function WithPlace({ children }: { children: (place: Place, own: OwnAlias) => ReactNode }) {
  const { t } = useTranslation();
  const { aliases, own, choose, place, pending, error } = usePlace();
  if (error) return <Failure error={error} />;
  if (pending) return <Waiting />;
  if (!own) return <Empty>{t('access.notLinked')}</Empty>;
  return (
    <>
      {aliases.length > 1 && (
        <NativeSelect
          maw={360}
          label={t('hospital')}
          value={own.alias}
          data={aliases.map(({ alias, custodian_name }) => ({
            value: alias,
            label: custodian_name,
          }))}
          onChange={(event) => choose(event.currentTarget.value)}
        />
      )}
      {place ? (
        children(place, own)
      ) : (
        <Empty>
          <Text>{t('record.needAccess', { name: own.custodian_name })}</Text>
          <Button component={Link} to="/patient/access" mt="sm">
            {t('nav.access')}
          </Button>
        </Empty>
      )}
    </>
  );
}
