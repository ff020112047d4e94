/* SPDX-License-Identifier: MIT */
/* Copyright (C) 2026 Wintun authors */
/*
 * What irp.c, io.c, device.c, driver.c, pnp.c and power.c share: the host's side of drivers, device
 * objects, file objects and IRPs. Nothing outside nt/ includes this.
 */
#pragma once

#include "nt/mm.h"
#include "nt/ps.h"

/* After so long on the machine's clock a request that the I/O manager waits for is lost. */
#define NTH_IO_PATIENCE_NS (300ull * 1000000000)

#ifndef FILE_SYNCHRONOUS_IO_ALERT
#define FILE_SYNCHRONOUS_IO_ALERT 0x00000010
#endif

/* ---- drivers (nt/driver.c) ---- */

struct nth_driver {
    DRIVER_OBJECT *object; /* an NTH_OB_DRIVER */
    DRIVER_EXTENSION extension;
    struct nth_image *image;
    struct nth_driver *next; /* guarded by nth_io_lock */
    char *service;
    char *registry_path;    /* \Registry\Machine\System\CurrentControlSet\Services\<service> */
    bool is_unloading;      /* guarded by nth_io_lock: DriverUnload is wanted, or running */
    bool is_unload_called;  /* guarded by nth_io_lock */
    bool is_built_in;       /* the root bus driver */
    _Atomic unsigned busy;  /* work items queued or running: the image stays */
    _Atomic unsigned calls; /* its dispatch routines run: DriverUnload waits */
};

/* Guards device lists, attachments, reference counts of devices and the state of drivers. */
extern struct nth_mutex nth_io_lock;

struct nth_driver *nth_driver_of(const DRIVER_OBJECT *object);
/* A driver of the host's own: no image, never unloaded. */
struct nth_driver *nth_driver_built_in(const char *name);
/* Something that kept a driver loaded has gone: runs the unload that waits for it, on a system
 * thread. nth_io_lock not held. */
void nth_driver_reconsider(struct nth_driver *driver);
/* Around what uses the driver on a thread of the host's: count is its busy or its calls. After the
 * end the driver may be gone. */
void nth_driver_begin(_Atomic unsigned *count);
void nth_driver_end(_Atomic unsigned *count);
NTSTATUS NTAPI nth_invalid_device_request(PDEVICE_OBJECT DeviceObject, PIRP Irp);

/* ---- devices (nt/device.c) ---- */

struct device {
    DEVICE_OBJECT object;
    uint64_t extension[14]; /* DEVOBJ_EXTENSION, opaque to drivers */
    struct nth_driver *driver;
    DEVICE_OBJECT *lower;    /* attached to; guarded by nth_io_lock */
    struct nth_device *node; /* of a PDO, and of what is attached to it; guarded by nth_io_lock */
    bool is_deleted;         /* IoDeleteDevice was called; guarded by nth_io_lock */
    UNICODE_STRING name;     /* empty: unnamed */
    void *security;          /* self-relative, malloc'ed; NULL: the default */
};

struct device *nth_device_body(DEVICE_OBJECT *object);
/* Top of the stack that object is in; not referenced. */
DEVICE_OBJECT *nth_device_top(DEVICE_OBJECT *object);
/* An open file begins and ends to keep a device. False: it is being deleted, initialised, or is
 * exclusive and open (status says which). */
NTSTATUS nth_device_open(DEVICE_OBJECT *object);
void nth_device_close(DEVICE_OBJECT *object);
/* Files open anywhere in the stack of object. */
long nth_device_open_files(DEVICE_OBJECT *object);

/* ---- IRPs (nt/irp.c) ---- */

/* Called once when an IRP that the host made has been completed by every driver; the IRP lives
 * until the last pin goes. Any IRQL <= DISPATCH_LEVEL, any thread. */
typedef void nth_irp_done(IRP *irp, void *context);
/* An IRP of the host's own, with one pin. */
IRP *nth_irp_create(CCHAR stack, nth_irp_done *done, void *context);
/* One that a driver sends and the I/O manager ends. */
IRP *nth_irp_create_threaded(CCHAR stack, nth_irp_done *done, void *context);
void nth_irp_pin(IRP *irp);
void nth_irp_unpin(IRP *irp);
/* Sends it; the status the top driver returned. */
NTSTATUS nth_irp_send(DEVICE_OBJECT *device, IRP *irp);

/* Sends a request made of this stack location to the top of device's stack and waits for it, as the
 * PnP and power managers do. In: irp status to begin with. Out: final status, *information if
 * wanted. */
NTSTATUS nth_irp_synchronous(DEVICE_OBJECT *device, const IO_STACK_LOCATION *location,
                             NTSTATUS initial, ULONG_PTR *information);
NTSTATUS nth_irp_synchronous_mode(DEVICE_OBJECT *device, const IO_STACK_LOCATION *location,
                                  NTSTATUS initial, ULONG_PTR *information, KPROCESSOR_MODE mode);

/* text as a UNICODE_STRING whose terminated buffer is free()d by the caller. ASCII. */
UNICODE_STRING nth_unicode(const char *text);

/* Removes every device that is plugged (nt/pnp.c). */
void nth_pnp_unplug_all(void);

/* ---- completion ports (nt/port.c) ---- */

/* FILE_OBJECT.CompletionContext, opaque to drivers. */
struct _IO_COMPLETION_CONTEXT {
    PVOID Port, Key;
    ULONG_PTR UsageCount;
};

void nth_port_post(void *port, ULONG_PTR key, void *apc_context, NTSTATUS status,
                   ULONG_PTR information);
void nth_port_unbind(FILE_OBJECT *file); /* the file goes */

/* ---- devnodes (nt/pnp.c, property.c, interface.c, inf.c, power.c) ---- */

enum nth_node_state {
    NODE_NEW,
    NODE_STARTED,
    NODE_SURPRISED /* waits for its handles */,
    NODE_GONE
};

struct property;
struct interface;
struct nth_device {
    struct nth_device *next; /* guarded by nth_io_lock */
    DEVICE_OBJECT *pdo;      /* constant until the devnode goes */
    struct nth_driver *driver;
    enum nth_node_state state; /* guarded by nth_io_lock */
    unsigned index;
    char *instance_id; /* ROOT\NET\0000 */
    char *net_cfg_id;
    char *key;                    /* driver key */
    struct property *properties;  /* guarded by nth_io_lock */
    struct interface *interfaces; /* guarded by nth_io_lock */
    char interface_path[256];     /* what nth_device_interface answered last */
};

/* A file of a stack has closed: the removal that waits for it may go on. nth_io_lock held; true:
 * call nth_pnp_remove_later without the lock. */
bool nth_pnp_is_removable(struct nth_device *device);
void nth_pnp_remove_later(struct nth_device *device);
long nth_device_open_files_locked(DEVICE_OBJECT *object);

struct nth_device *nth_device_first(void); /* nth_io_lock held */

void nth_properties_free(struct nth_device *device);
void nth_property_set(struct nth_device *device, const DEVPROPKEY *key, DEVPROPTYPE type,
                      const void *data, ULONG bytes);
void nth_interfaces_free(struct nth_device *device);
/* AddReg of the models section of an INF, written below key (nt/inf.c). 0 or -errno with a message.
 */
int nth_inf_apply(const char *path, const char *key, const char **error);
/* One "Name=value" or "Name:d=5"; a name with backslashes lies in a subkey. */
void nth_registry_text(const char *key, const char *text);
/* A system thread of the host's own, joined at shutdown. */
void nth_io_thread(const char *name, void (*run)(void *), void *context);

/* The bus driver's half of power requests: completes irp. */
NTSTATUS NTAPI nth_bus_power(PDEVICE_OBJECT DeviceObject, PIRP Irp);
