import type { SubjectStrategy } from '../model/framed.ts';

/** The subject of messages of one type on a topic. */
export function subjectOf(strategy: SubjectStrategy, topic: string, typeName: string): string {
  switch (strategy) {
    case 'TopicNameStrategy':
      return `${topic}-value`;
    case 'RecordNameStrategy':
      return typeName;
    case 'TopicRecordNameStrategy':
      return `${topic}-${typeName}`;
  }
}
