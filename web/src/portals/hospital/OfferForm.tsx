// Offering images: the node opens and counts them, and publishes the numbers.
import {
  Button,
  Group,
  NativeSelect,
  NumberInput,
  Radio,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ok } from '../../api/client';
import type { DataSet } from '../../features/training/queries';
import { usePerson } from '../../session/use';
import { Dialog, Failure, Faults, Waiting } from '../../ui/page';

const SIZES = ['28', '64', '128', '224'];

export function OfferForm({
  opened,
  close,
  done,
}: {
  opened: boolean;
  close: () => void;
  done: (set: DataSet) => void;
}) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [classes, setClasses] = useState('normal, pneumonia');
  const [size, setSize] = useState('64');
  const [channels, setChannels] = useState('1');
  const [test, setTest] = useState<number | string>(20);
  const [fault, setFault] = useState(false);
  const names = [...new Set(classes.split(',').map((name) => name.trim()))].filter(Boolean);
  const offer = useMutation({
    mutationFn: () =>
      ok(
        person.home.api.POST('/api/v1/data-sets', {
          body: {
            classes: names,
            size_px: Number(size),
            channels: Number(channels),
            test_percent: Number(test) || 0,
          },
        }),
      ),
    onSuccess: async (set) => {
      await queries.invalidateQueries({ queryKey: ['data sets'] });
      done(set);
    },
  });
  const send = (): void => {
    setFault(names.length < 2);
    if (names.length >= 2) offer.mutate();
  };
  const told = t('f.h.offer.fault');
  return (
    <Dialog title={t('f.h.offer.title')} opened={opened} onClose={close}>
      <Stack>
        <Text>{t('f.h.offer.text')}</Text>
        <Faults faults={fault ? [{ id: 'offer-classes', text: told }] : []} />
        <TextInput
          id="offer-classes"
          label={t('f.h.offer.classes')}
          description={t('f.h.offer.classesWhy')}
          value={classes}
          maxLength={1000}
          error={fault && told}
          onChange={(event) => setClasses(event.currentTarget.value)}
        />
        <NativeSelect
          label={t('f.h.offer.size')}
          data={SIZES}
          value={size}
          onChange={(event) => setSize(event.currentTarget.value)}
        />
        <Radio.Group label={t('f.h.offer.colour')} value={channels} onChange={setChannels}>
          <Group mt={4}>
            <Radio value="1" label={t('f.h.offer.grey')} />
            <Radio value="3" label={t('f.h.offer.rgb')} />
          </Group>
        </Radio.Group>
        <NumberInput
          label={t('f.h.offer.test')}
          description={t('f.h.offer.testWhy')}
          min={0}
          max={90}
          allowDecimal={false}
          hideControls
          value={test}
          onChange={setTest}
        />
        {offer.error && <Failure error={offer.error} />}
        {offer.isPending ? (
          <Waiting text={t('f.h.offer.working')} />
        ) : (
          <Group>
            <Button onClick={send}>{t('f.h.offer')}</Button>
            <Button variant="default" onClick={close}>
              {t('cancel')}
            </Button>
          </Group>
        )}
      </Stack>
    </Dialog>
  );
}
