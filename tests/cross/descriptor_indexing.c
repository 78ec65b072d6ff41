/* A Vulkan layer that claims VK_EXT_descriptor_indexing for devices that do not name it.
   vkd3d 1.2, Debian's Direct3D 12 under Wine, refuses a device without that extension by name. Mesa's lavapipe has what
   the extension became in Vulkan 1.2, and no longer lists it. The layer adds the name to the list and keeps it from the
   driver when a device is made. */
#include <stdlib.h>
#include <string.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define CLAIMED "VK_EXT_descriptor_indexing"

static VkInstance instance;
static PFN_vkGetInstanceProcAddr next_instance_function;
static PFN_vkGetDeviceProcAddr next_device_function;
static PFN_vkEnumerateDeviceExtensionProperties next_extensions;

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator, VkInstance *made)
{
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)info->pNext;
    while (link && !(link->sType == VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO &&
                     link->function == VK_LAYER_LINK_INFO))
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    next_instance_function = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)next_instance_function(NULL, "vkCreateInstance");
    VkResult result = create(info, allocator, made);
    if (result == VK_SUCCESS) {
        instance = *made;
        next_extensions = (PFN_vkEnumerateDeviceExtensionProperties)next_instance_function(
            instance, "vkEnumerateDeviceExtensionProperties");
    }
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL extensions(VkPhysicalDevice device, const char *layer, uint32_t *count,
                                                 VkExtensionProperties *listed)
{
    if (layer)
        return next_extensions(device, layer, count, listed);
    uint32_t n = 0;
    VkResult result = next_extensions(device, NULL, &n, NULL);
    VkExtensionProperties *all = calloc(n + 1, sizeof *all);
    if (!all)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (result == VK_SUCCESS)
        result = next_extensions(device, NULL, &n, all);
    int has = 0;
    for (uint32_t k = 0; k < n; k++)
        has |= !strcmp(all[k].extensionName, CLAIMED);
    if (!has) {
        strcpy(all[n].extensionName, CLAIMED);
        all[n++].specVersion = 2;
    }
    if (result == VK_SUCCESS && listed) {
        result = *count < n ? VK_INCOMPLETE : VK_SUCCESS;
        n = *count < n ? *count : n;
        memcpy(listed, all, n * sizeof *all);
    }
    *count = n;
    free(all);
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkDevice *made)
{
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)info->pNext;
    while (link &&
           !(link->sType == VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO && link->function == VK_LAYER_LINK_INFO))
        link = (VkLayerDeviceCreateInfo *)link->pNext;
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    next_device_function = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;

    const char **names = calloc(info->enabledExtensionCount + 1, sizeof *names);
    if (!names)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkDeviceCreateInfo changed = *info;
    changed.ppEnabledExtensionNames = names;
    changed.enabledExtensionCount = 0;
    for (uint32_t k = 0; k < info->enabledExtensionCount; k++)
        if (strcmp(info->ppEnabledExtensionNames[k], CLAIMED))
            names[changed.enabledExtensionCount++] = info->ppEnabledExtensionNames[k];
    VkResult result = ((PFN_vkCreateDevice)next(instance, "vkCreateDevice"))(physical, &changed, allocator, made);
    free(names);
    return result;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_function(VkDevice device, const char *name)
{
    if (!strcmp(name, "vkGetDeviceProcAddr"))
        return (PFN_vkVoidFunction)device_function;
    return next_device_function ? next_device_function(device, name) : NULL;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_function(VkInstance of, const char *name)
{
    if (!strcmp(name, "vkGetInstanceProcAddr"))
        return (PFN_vkVoidFunction)instance_function;
    if (!strcmp(name, "vkGetDeviceProcAddr"))
        return (PFN_vkVoidFunction)device_function;
    if (!strcmp(name, "vkCreateInstance"))
        return (PFN_vkVoidFunction)create_instance;
    if (!strcmp(name, "vkCreateDevice"))
        return (PFN_vkVoidFunction)create_device;
    if (!strcmp(name, "vkEnumerateDeviceExtensionProperties"))
        return (PFN_vkVoidFunction)extensions;
    return next_instance_function ? next_instance_function(of, name) : NULL;
}

VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version)
{
    version->loaderLayerInterfaceVersion = 2;
    version->pfnGetInstanceProcAddr = instance_function;
    version->pfnGetDeviceProcAddr = device_function;
    version->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
