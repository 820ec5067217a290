/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: the ACPI device by which the guest finds its generation id, in a table of
 * its own as QEMU has it, with the page's address (VGIA) as its first object, which the loader
 * fills in. ADDR gives the id's address in two halves; event 5 says that it has changed.
 * Source: Microsoft, "Virtual Machine Generation ID", 2012; ACPI 6.5 chapter 20
 */
#include "device/vmgenid.h"
#include "machine/q35/acpi.h"

/* Local0 = 0xf; If (VGIA == 0) Local0 = 0; Return (Local0) */
static void status(struct aml *a)
{
	aml_method(a, "_STA", 0, false);
	aml_op(a, AML_STORE);
	aml_int(a, 0xf);
	aml_op(a, AML_LOCAL0);
	aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_path(a, "VGIA");
	aml_int(a, 0);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_op(a, AML_LOCAL0);
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_op(a, AML_LOCAL0);
	aml_end(a);
}

/* Target Local0 [@i] of the Store () before it. */
static void element(struct aml *a, uint64_t i)
{
	aml_op(a, AML_INDEX);
	aml_op(a, AML_LOCAL0);
	aml_int(a, i);
	aml_int(a, 0);
}

/* Local0 = Package (2) {}; Local0 [0] = VGIA + 40; Local0 [1] = 0; Return (Local0) */
static void address(struct aml *a)
{
	aml_method(a, "ADDR", 0, false);
	aml_op(a, AML_STORE);
	aml_package(a, 2);
	aml_end(a);
	aml_op(a, AML_LOCAL0);
	aml_op(a, AML_STORE);
	aml_op(a, AML_ADD);
	aml_path(a, "VGIA");
	aml_int(a, VMGENID_GUID_OFFSET);
	aml_int(a, 0);
	element(a, 0);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	element(a, 1);
	aml_op(a, AML_RETURN);
	aml_op(a, AML_LOCAL0);
	aml_end(a);
}

/**
 * ssdt_vmgenid() - Write the table's body
 * @a:		Where, behind the header
 *
 * Return: offset in @a of the four bytes that take the page's address
 */
size_t ssdt_vmgenid(struct aml *a)
{
	size_t at;

	aml_name(a, "VGIA");
	aml_byte(a, 0x0c); /* DWordConst, also for a small number */
	at = a->len;
	aml_le(a, 0, 4);
	aml_scope(a, "\\_SB");
	aml_device(a, "VGEN");
	aml_name_str(a, "_HID", "QEMUVGID");
	aml_name_str(a, "_CID", "VM_Gen_Counter");
	aml_name_str(a, "_DDN", "VM_Gen_Counter");
	status(a);
	address(a);
	aml_end(a);
	aml_end(a);
	aml_method(a, "\\_GPE._E05", 0, false);
	aml_op(a, AML_NOTIFY);
	aml_path(a, "\\_SB.VGEN");
	aml_int(a, 0x80);
	aml_end(a);
	return at;
}
