import { type DescEnum, type DescField, type DescMessage, type DescOneof, ScalarType } from '@bufbuild/protobuf';
import { Edition, FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { StateferryError } from '../errors.ts';

/**
 * The .proto text that messages of these types are written with where the registry has none: they and all that they hold,
 * of one package, without options and services.
 * @throws StateferryError FUNCTION_SPEC where they hold types of another package than their own
 */
export function deriveProtobuf(types: readonly DescMessage[]): string {
  const [first] = types;
  if (first === undefined) throw new TypeError('there are no types');
  const { file } = first;
  const syntax = file.edition === Edition.EDITION_PROTO2 ? 'proto2' : 'proto3';
  const tops: (DescMessage | DescEnum)[] = [];
  const imports = new Set<string>();
  for (const type of types) reach(type, type.typeName);
  const lines = [`syntax = "${syntax}";`, ''];
  if (file.proto.package !== '') lines.push(`package ${file.proto.package};`, '');
  for (const name of [...imports].sort()) lines.push(`import "${name}";`);
  if (imports.size > 0) lines.push('');
  // The types that are asked for first: their indexes do not move when others are added.
  for (const top of tops) lines.push(...(top.kind === 'message' ? messageLines(top, '') : enumLines(top, '')), '');
  return lines.join('\n');

  function reach(type: DescMessage | DescEnum, path: string): void {
    if (type.typeName.startsWith('google.protobuf.')) {
      imports.add(`${type.file.name}.proto`);
      return;
    }
    if (type.file.proto.package !== file.proto.package || type.file.edition !== file.edition) {
      throw new StateferryError(
        'FUNCTION_SPEC',
        `${path} is of the type ${type.typeName}, which is not of the package ${file.proto.package || '(none)'} and its syntax. Register its schema by hand, with the other one as a reference.`,
      );
    }
    const top = topOf(type);
    if (tops.includes(top)) return;
    tops.push(top);
    if (top.kind === 'message') reachFields(top, top.typeName);
  }

  function reachFields(message: DescMessage, path: string): void {
    for (const field of message.fields) {
      const of = field.message ?? field.enum;
      if (of !== undefined) reach(of, `${path}.${field.name}`);
    }
    for (const nested of message.nestedMessages) reachFields(nested, `${path}.${nested.name}`);
  }
}

function topOf(type: DescMessage | DescEnum): DescMessage | DescEnum {
  return type.parent === undefined ? type : topOf(type.parent);
}

function messageLines(type: DescMessage, indent: string): string[] {
  const inner = `${indent}  `;
  return [
    `${indent}message ${type.name} {`,
    ...type.nestedEnums.flatMap((nested) => enumLines(nested, inner)),
    ...type.nestedMessages.flatMap((nested) => messageLines(nested, inner)),
    ...type.members.flatMap((member) =>
      member.kind === 'field' ? [fieldLine(member, inner)] : oneofLines(member, inner),
    ),
    `${indent}}`,
  ];
}

function oneofLines(oneof: DescOneof, indent: string): string[] {
  return [
    `${indent}oneof ${oneof.name} {`,
    ...oneof.fields.map((field) => fieldLine(field, `${indent}  `)),
    `${indent}}`,
  ];
}

function enumLines(type: DescEnum, indent: string): string[] {
  const isAliased = new Set(type.values.map(({ number }) => number)).size < type.values.length;
  return [
    `${indent}enum ${type.name} {`,
    ...(isAliased ? [`${indent}  option allow_alias = true;`] : []),
    ...type.values.map(({ name, number }) => `${indent}  ${name} = ${number};`),
    `${indent}}`,
  ];
}

function fieldLine(field: DescField, indent: string): string {
  const of = field.message ?? field.enum;
  const type = of === undefined ? scalarName(field.scalar as ScalarType) : `.${of.typeName}`;
  const declared = `${field.name} = ${field.number};`;
  if (field.fieldKind === 'map') return `${indent}map<${scalarName(field.mapKey)}, ${type}> ${declared}`;
  return `${indent}${labelOf(field)}${type} ${declared}`;
}

function labelOf(field: DescField): string {
  if (field.fieldKind === 'list') return 'repeated ';
  if (field.oneof !== undefined) return '';
  if (field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED) return 'required ';
  const isProto2 = field.parent.file.edition === Edition.EDITION_PROTO2;
  return isProto2 || field.proto.proto3Optional ? 'optional ' : '';
}

function scalarName(scalar: ScalarType): string {
  return ScalarType[scalar].toLowerCase();
}
