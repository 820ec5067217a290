/* SPDX-License-Identifier: Apache-2.0 */
/* As much of IPv4 as ping needs. */
#include <stdbool.h>

#include "net.h"
#include "platform.h"

#define TYPE_IP       0x0800
#define TYPE_ARP      0x0806
#define ARP_REQUEST   1
#define ARP_REPLY     2
#define PROTOCOL_ICMP 1
#define ICMP_ECHO     8

/** struct arp - ARP for IPv4 over Ethernet; big endian */
struct arp {
	uint16_t hardware;
	uint16_t protocol;
	uint8_t hardware_bytes;
	uint8_t protocol_bytes;
	uint16_t operation;
	uint8_t from_mac[6];
	uint32_t from_ip;
	uint8_t to_mac[6];
	uint32_t to_ip;
} __attribute__((packed));

/** struct ipv4 - IPv4 header without options; big endian */
struct ipv4 {
	uint8_t version;
	uint8_t service;
	uint16_t bytes;
	uint16_t id;
	uint16_t fragment;
	uint8_t ttl;
	uint8_t protocol;
	uint16_t check;
	uint32_t from;
	uint32_t to;
} __attribute__((packed));

/** struct icmp - ICMP echo */
struct icmp {
	uint8_t type;
	uint8_t code;
	uint16_t check;
	uint16_t id;
	uint16_t sequence;
} __attribute__((packed));

/* Internet checksum (RFC 1071) over @bytes. */
static uint16_t checksum(const uint8_t *at, uint32_t bytes)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < bytes; i++)
		sum += i % 2 ? at[i] : (uint32_t)at[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return __builtin_bswap16((uint16_t)~sum);
}

static void turn(struct ethernet *e, const uint8_t *mac)
{
	memcpy(e->to, e->from, sizeof(e->to));
	memcpy(e->from, mac, sizeof(e->from));
}

static uint32_t answer_arp(struct ethernet *e, uint32_t bytes, const uint8_t *mac, uint32_t ip)
{
	struct arp *a = (struct arp *)(e + 1);

	if (bytes < sizeof(*e) + sizeof(*a) || a->operation != __builtin_bswap16(ARP_REQUEST) ||
	    a->to_ip != __builtin_bswap32(ip))
		return 0;
	turn(e, mac);
	a->operation = __builtin_bswap16(ARP_REPLY);
	memcpy(a->to_mac, a->from_mac, sizeof(a->to_mac));
	a->to_ip = a->from_ip;
	memcpy(a->from_mac, mac, sizeof(a->from_mac));
	a->from_ip = __builtin_bswap32(ip);
	return sizeof(*e) + sizeof(*a);
}

static bool is_echo(const struct ipv4 *p, uint32_t bytes, uint32_t ip)
{
	const struct icmp *i = (const struct icmp *)(p + 1);
	uint32_t length = __builtin_bswap16(p->bytes);

	return bytes >= sizeof(*p) + sizeof(*i) && p->version == 0x45 &&
	       p->protocol == PROTOCOL_ICMP && p->to == __builtin_bswap32(ip) &&
	       !(p->fragment & __builtin_bswap16(0x3fff)) && length <= bytes &&
	       length >= sizeof(*p) + sizeof(*i) && i->type == ICMP_ECHO;
}

static uint32_t answer_echo(struct ethernet *e, uint32_t bytes, const uint8_t *mac, uint32_t ip)
{
	struct ipv4 *p = (struct ipv4 *)(e + 1);
	struct icmp *i = (struct icmp *)(p + 1);
	uint32_t length;

	if (!is_echo(p, bytes - (uint32_t)sizeof(*e), ip))
		return 0;
	length = __builtin_bswap16(p->bytes);
	turn(e, mac);
	p->to = p->from;
	p->from = __builtin_bswap32(ip);
	p->ttl = 64;
	p->check = 0;
	p->check = checksum((const uint8_t *)p, sizeof(*p));
	i->type = 0;
	i->check = 0;
	i->check = checksum((const uint8_t *)i, length - (uint32_t)sizeof(*p));
	return (uint32_t)sizeof(*e) + length;
}

uint32_t netstack_answer(const uint8_t *packet, uint32_t bytes, const uint8_t *mac, uint32_t ip,
			 uint8_t *reply, uint32_t room)
{
	struct ethernet *e = (struct ethernet *)reply;

	if (bytes > room)
		return 0;
	memcpy(reply, packet, bytes);
	switch (__builtin_bswap16(e->type)) {
	case TYPE_ARP: return answer_arp(e, bytes, mac, ip);
	case TYPE_IP: return answer_echo(e, bytes, mac, ip);
	default: return 0;
	}
}
