// A question or an answer, with who signed it.
import { Card, Text, Title } from '@mantine/core';
import type { Opened } from '../../records/open';
import { itemOf } from '../record/fhir';
import { Source } from '../record/RecordView';

export function Message({ title, record, by }: { title: string; record: Opened; by?: string }) {
  return (
    <Card withBorder>
      <Title order={2} size="h4">
        {title}
      </Title>
      <Text className="wrap" style={{ whiteSpace: 'pre-wrap' }}>
        {itemOf(record).text}
      </Text>
      <Source opened={record} by={by} />
    </Card>
  );
}
