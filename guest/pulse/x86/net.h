/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PULSE_X86_NET_H
#define PULSE_X86_NET_H

#include <stdint.h>

#define NET_TYPE 0x88b5 /* for experiments (IEEE 802) */

/** struct ethernet - Ethernet header; type is big endian */
struct ethernet {
	uint8_t to[6];
	uint8_t from[6];
	uint16_t type;
} __attribute__((packed));

/**
 * netstack_answer() - Answer ARP and ICMP echo requests for one address
 * @packet:	What came, from its Ethernet header on
 * @bytes:	Its length, at least an Ethernet header
 * @mac:	Our address
 * @ip:		Ours too, host order
 * @reply:	Where the answer goes
 * @room:	Bytes there
 * Return: length of the answer, 0 when there is none
 */
uint32_t netstack_answer(const uint8_t *packet, uint32_t bytes, const uint8_t *mac, uint32_t ip,
			 uint8_t *reply, uint32_t room);

#endif
